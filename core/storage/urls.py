"""What a storage URL may say. Keys are taken as they are: nothing in them is percent-decoded.

``s3://bucket/some/key?endpoint_override=host:9000&scheme=http``: the part after the last ``?`` are
settings where it reads like them; so a pattern such as ``paper?.pdf`` is still a pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from core.errors import RecipeError

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://(?P<rest>.*)", re.DOTALL)
_SETTINGS = re.compile(r"\?(?P<settings>[A-Za-z_-]+=[^?/]*(?:/[^?]*)?)\Z")
_VALID_SETTINGS = {
    "s3": ("anonymous", "endpoint_override", "region", "scheme"),
    **dict.fromkeys(("gs", "gcs"), ("anonymous",)),
}
_SECRETS = {"access_key", "secret_key", "session_token", "token", "password", "key", "secret"}


def is_url(text: str) -> bool:
    """Returns whether a recipe path is a URL and not a local path."""
    return "://" in text and _URL.match(text) is not None


@dataclass(frozen=True)
class StorageUrl:
    """A checked URL.

    Args:
        scheme: ``s3``, ``gs``, ``hf`` ...; lower case.
        path: bucket and key, without a slash at either end.
        settings: what follows the ``?``.
    """

    scheme: str
    path: str
    settings: tuple[tuple[str, str], ...] = ()

    def below(self, name: str) -> StorageUrl:
        """Returns the URL of a name below this one."""
        return StorageUrl(self.scheme, f"{self.path}/{name}" if name else self.path, self.settings)

    @property
    def shown(self) -> str:
        """The URL for messages, without its settings."""
        return f"{self.scheme}://{self.path}"

    def __str__(self) -> str:
        query = f"?{urlencode(self.settings, safe=':/')}" if self.settings else ""
        return f"{self.shown}{query}"


def parse_url(text: str, where: str = "recipe") -> StorageUrl:
    """Returns the parts of a URL.

    Args:
        text: the URL.
        where: recipe key, for the error.

    Raises:
        RecipeError: it holds credentials, unknown settings, or a path that leads elsewhere.
    """
    match = _URL.match(text)
    if match is None:
        raise RecipeError("this is not a URL", where=where, remedy="write scheme://bucket/path")
    scheme, rest = match["scheme"].lower(), match["rest"]
    settings: list[tuple[str, str]] = []
    if found := _SETTINGS.search(rest):
        settings = parse_qsl(found["settings"], keep_blank_values=True)
        rest = rest[: found.start()]
    path = rest.strip("/")
    # Never shown: the text may hold a password.
    if "@" in path.split("/")[0] or any(name in _SECRETS for name, _ in settings):
        raise RecipeError(
            f"a {scheme}:// URL here holds credentials",
            where=where,
            remedy="take them out of the recipe; give them by the environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or ~/.aws/credentials",
        )
    valid = _VALID_SETTINGS.get(scheme, ())
    unknown = sorted({name for name, _ in settings} - {*valid})
    if unknown:
        # Of the web, too: it would be asked for without, and may answer with something else.
        raise RecipeError(
            f"unknown setting '{unknown[0]}' in a URL",
            where=where,
            remedy=f"valid after the ?: {', '.join(valid)}"
            if valid
            else f"a {scheme}:// URL takes nothing after a ?; download the file and give its path",
        )
    if not path or any(part in ("", ".", "..") for part in path.split("/")):
        raise RecipeError(
            f"'{scheme}://{path}' names no place",
            where=where,
            remedy="write scheme://bucket/path, without empty parts, '.' or '..'",
        )
    return StorageUrl(scheme, path, tuple(sorted(settings)))
