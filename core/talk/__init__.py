"""Talking to a model: turns, reasoning told apart from answers, text as it comes, small servers.

==================  ===========================================================================
``reasoning``       which text of an answer lies between ``<think>`` and ``</think>``
``conversation``    turns, the thinking switch, and what still fits into the context
``voice``           the interface: something that answers, a piece at a time
``local``           a voice: a model folder, through transformers
``remote``          a voice: an OpenAI-compatible server
``server``          a small OpenAI-compatible server over a local voice
``vllm_server``     vLLM's own server as a process of ours
==================  ===========================================================================
"""
