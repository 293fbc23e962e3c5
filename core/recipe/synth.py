"""Recipe section ``synth``: pairs, judge, summaries, instruction sets, mixture, chat rendering."""

from __future__ import annotations

from core.recipe.base import Section
from core.recipe.chat import Chat
from core.recipe.control import Control
from core.recipe.instruct import Instruct
from core.recipe.judge import Judge
from core.recipe.mixture import Mixture
from core.recipe.qa import Qa
from core.recipe.summaries import Metadata, Summaries


class Synth(Section):
    """From documents to training conversations."""

    qa: Qa
    judge: Judge | None = None
    """Absent: all pairs stay, unscored."""
    summaries: Summaries | None = None
    """Absent: none; the prompts of ``qa`` then go without."""
    metadata: Metadata | None = None
    """Absent: no such questions."""
    instruct: Instruct | None = None
    """Absent: no general instructions."""
    control: Control | None = None
    """Absent: no control experiment (AstroMLab 3, section IV)."""
    mixture: Mixture = Mixture()
    chat: Chat = Chat()
