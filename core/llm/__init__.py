"""Language-model engines behind one small interface: ``generate``, ``score``, ``choose``.

========================  =====================================================================
``rules``                 no model: questions by pattern, plainly labelled; generates only
``transformers``          a local Hugging Face model in process; for tiny models and CPUs
``vllm``                  vLLM offline, one batch per shard
``kenlm``                 an n-gram model through KenLM; scores only, cheaply
``openai``                any OpenAI-compatible server, through an asyncio client
========================  =====================================================================
"""

from core.llm.engine import (
    Choice,
    ChoiceRequest,
    Engine,
    GenerateRequest,
    Generation,
    Score,
    ScoreRequest,
    open_engine,
)

__all__ = [
    "Choice",
    "ChoiceRequest",
    "Engine",
    "GenerateRequest",
    "Generation",
    "Score",
    "ScoreRequest",
    "open_engine",
]
