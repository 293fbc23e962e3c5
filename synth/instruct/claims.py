"""Answers that say who the model is, and answers that decline.

Instruction sets are written by other models, which say so: "I am ChatGPT", "As an AI language
model, I ...", "I was trained by OpenAI". A model that learns it will say the same of itself.
Refusals of the other model's policy or limits ("I'm sorry, but I can't ...") teach to refuse what
the trained model could answer.

Both look at the assistant's answers only, and at the first person outside of quotation marks:
"I am a physicist", "Bing was made by Microsoft" and a robot in a story are none.
"""

from __future__ import annotations

import re

_NAMES = (
    r"Chat-?GPT|GPT-?\s?[2345]\w*|OpenAI|Claude|Bard|Gemini|Gemma|PaLM|LaMDA|LLaMA|Llama|Alpaca|"
    r"Vicuna|Koala|Qwen\w*|Tongyi|Mistral|Mixtral|DeepSeek\w*|Grok|Copilot|Bing(?: Chat)?|Sydney|"
    r"Open ?Assistant|ChatGLM|GLM-\d|InternLM|Baichuan|ERNIE(?: Bot)?|Ernie(?: Bot)?|Doubao|Kimi|"
    r"MOSS|Dolly|StableLM|Falcon|Phi-?\d|Nemotron|Hermes|Zephyr|Tulu|Orca|Cortana|Siri|Alexa|"
    r"Infinity(?: Instruct)?|Aquila\w*|\{\{\s*name\s*\}\}|<name>|\[name\]"
)
_MAKERS = (
    r"OpenAI|Anthropic|Google(?: DeepMind| AI| Research)?|DeepMind|Meta(?: AI)?|Facebook|Microsoft|"
    r"Alibaba(?: Cloud)?|Baidu|Tencent|ByteDance|Mistral AI|DeepSeek|xAI|NVIDIA|Nvidia|Cohere|"
    r"LMSYS|Large Model Systems Organization|Stability AI|Hugging Face|LAION|Zhipu|BAAI|"
    r"Moonshot AI|Technology Innovation Institute|Nous Research|\{\{\s*author\s*\}\}"
)
# "just", "an advanced", "a large", ...: what may stand between "I am" and what is claimed.
_FILL = (
    r"(?:(?:just|only|merely|actually|simply|still|also|indeed|but|called|named|a|an|the|your|not|"
    r"large|advanced|smart|helpful|friendly|virtual|digital|computer|trained|open-source|powerful|"
    r"text-based|language-based|machine learning|neural)[\s,-]+){0,5}"
)
_KIND = (
    r"AI\b(?![- ](?:researcher|engineer|expert|scientist|specialist|developer|student|enthusiast|"
    r"ethicist|company|startup|consultant))|A\.I\.|artificial intelligence\b"
    r"(?! (?:researcher|engineer|expert|scientist|specialist))|language model|LLM\b|chat ?bot|"
    r"(?:virtual|digital|AI)[ -]?(?:powered )?assistant|machine learning model|computer program|"
    r"conversational agent|neural network"
)
_I_AM = (
    r"\b(?:I am|I'm|I’m|I was|[Mm]y name is|(?:call me|refer to me as)|"
    r"I go by(?: the name)?(?: of)?|I'm called|I am called)[\s,]+"
)
_MADE = (
    r"(?:trained|developed|created|built|made|designed|fine-?tuned|programmed|released|powered|"
    r"produced|introduced)"
)
# Not in quotation marks: somebody else says it.
_START = r"(?<![\"“‘'«])"

# A name is not claimed where a surname follows ("I am Claude Monet").
_IDENTITY = re.compile(
    rf"{_START}{_I_AM}{_FILL}(?:{_KIND})"
    rf"|{_START}{_I_AM}{_FILL}(?:{_NAMES})(?![\w-])(?! [A-Z][a-z])"
    rf"|{_START}\b[Aa]s {_FILL}(?:{_KIND})[^.!?\n]{{0,120}}?\b(?:I|my|me)\b"
    rf"|{_START}\bI(?:'m|’m| am| was|'ve been|’ve been| have been)\b[^.!?\n\"“]{{0,60}}?\b{_MADE}"
    rf"\b[^.!?\n\"“]{{0,60}}?\b(?:{_MAKERS})"
    rf"|\b(?:{_MAKERS})\b[^.!?\n\"“]{{0,40}}\b(?:{_MADE}|trains|develops) me\b"
    rf"|\b[Mm]y (?:creators?|developers?|makers?|trainers?)\b[^.!?\n\"“]{{0,60}}?\b(?:{_MAKERS})"
    rf"|\{{\{{\s*(?:name|author)\s*\}}\}}[^.!?\n]{{0,40}}\b(?:AI|assistant|model)\b"
    # Infinity-Instruct is half Chinese: "I am ... AI / language model", "as an AI".
    r"|(?:我是|我叫|您可以叫我)[^。！？\n]{0,30}(?:AI|人工智能|语言模型|助手|\{\{\s*name)"
    r"|作为(?:一个|一名|一种)?(?:大型)?(?:AI|人工智能|语言模型)"
)

_SORRY = (
    r"(?:(?:I'm|I am|I’m)?\s*(?:(?:really|very|so|truly|deeply)\s+)?(?:[Ss]orry|afraid)|"
    r"(?:I|My)\s+(?:sincerely\s+)?(?:apologi[sz]e|apologies)|Apologies|Unfortunately|Regrettably|"
    r"As an? [^,.\n]{1,60})"
)
_CANNOT = (
    r"(?:can(?:no|')t|can’t|can not|could not|couldn't|couldn’t|won't|won’t|will not|"
    r"(?:'m|’m|\s+am)\s+(?:\w+\s+)?(?:unable|not able|not allowed|not permitted|not capable|"
    r"not comfortable|not in a position|incapable)|"
    r"(?:do not|don't|don’t)\s+(?:\w+\s+)?(?:have|possess)\b[^.\n]{0,40}?\b(?:access|ability|"
    r"capabilit\w+|permission|the functionality)|must (?:decline|refuse))"
)
_VERBS = (
    r"(?:\w+ly\s+)?(?:assist|help|provide|fulfill|fulfil|comply|create|generate|write|answer|"
    r"engage|support|discuss|share|give|offer|participate|continue|do|perform|access|retrieve|"
    r"browse|open|view|see|read|order|book|process|complete|respond|accommodate|produce|be)\b"
)
_REFUSAL = re.compile(
    rf"\A\W{{0,3}}(?:{_SORRY}\b[\s,;:.–—-]*(?:but\b\s*|that\b\s*)?(?:[^.!?\n]{{0,50}}?,\s*)?"
    rf"I\s*(?:\w+ly\s+)?{_CANNOT}"
    rf"|(?:No, )?I\s*(?:\w+ly\s+)?{_CANNOT}\s+(?:to\s+)?{_VERBS}"
    rf"|(?:I'm|I am|I’m)\s+(?:not able|unable|not allowed|not permitted)\s+to\s+{_VERBS})"
)
_REFUSAL_CHARS = 400
"""A refusal comes at once."""


_SELF = ("I ", "I'm", "I’m", "I was", "my ", "My ", " me", "我", "作为", "{{")
"""One of these is in every claim; half of all answers have none, which is quick to see."""


def identity_claim(answer: str) -> str | None:
    """Returns the words with which an answer says that a model gives it; None where it does not."""
    if not any(word in answer for word in _SELF):
        return None
    found = _IDENTITY.search(answer)
    return found.group()[:120] if found else None


def refusal(answer: str) -> str | None:
    """Returns the words with which an answer declines at its very start; None where it does not.

    Reasoning between ``<think>`` tags is no part of the start.
    """
    said = answer.rpartition("</think>")[2].lstrip()[:_REFUSAL_CHARS]
    found = _REFUSAL.search(said)
    return found.group()[:120] if found else None
