"""Safe YAML that reads the same whatever else the process has imported."""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.constructor import SafeConstructor


class YamlReader(yaml.SafeLoader):
    """PyYAML's safe loader with 1.2's floats (``1e-4`` is a number) and dates that stay dates.

    A dependency of vLLM (lm-format-enforcer) replaces the timestamp constructor of the shared
    ``SafeLoader`` on import, which makes every date a string: ours is set here, on a class of ours.
    """


YamlReader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _date(reader: YamlReader, node: yaml.ScalarNode) -> Any:
    return SafeConstructor.construct_yaml_timestamp(reader, node)


YamlReader.add_constructor("tag:yaml.org,2002:timestamp", _date)


def read_yaml(text: str) -> Any:
    """Returns what a YAML text says.

    Raises:
        yaml.YAMLError: it is not YAML; also other kinds, such as ValueError for a 13th month.
    """
    return yaml.load(text, Loader=YamlReader)
