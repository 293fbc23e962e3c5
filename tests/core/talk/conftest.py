from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.talk.local import LocalVoice
from tests.talk_model import thinker_folder


@pytest.fixture(scope="session")
def thinker() -> Path:
    """Folder of the tiny model that reasons."""
    return thinker_folder()


@pytest.fixture(scope="session")
def voice(thinker: Path) -> LocalVoice:
    # Beside another test process, two threads only wait for each other.
    torch.set_num_threads(1)
    return LocalVoice(thinker, "thinker")
