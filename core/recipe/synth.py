"""Recipe section ``synth``: questions and answers, instruction sets, chat rendering."""

from __future__ import annotations

from core.recipe.base import Section
from core.recipe.chat import Chat
from core.recipe.instruct import Instruct
from core.recipe.qa import Qa


class Synth(Section):
    """From documents to training conversations."""

    qa: Qa
    chat: Chat = Chat()
    instruct: Instruct | None = None
