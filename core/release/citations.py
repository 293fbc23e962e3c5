"""BibTeX of the papers whose method or benchmark a model may rest on."""

from __future__ import annotations

from collections.abc import Iterable

PAPERS = {
    "astromlab1": """@article{ting2024astromlab1,
  title = {{AstroMLab 1}: Who Wins Astronomy Jeopardy!?},
  author = {Ting, Yuan-Sen and Nguyen, Tuan Dung and Ghosal, Tirthankar and Pan, Rui and
            Arora, Hardik and Sun, Zechang and de Haan, Tijmen and Ramachandra, Nesar and
            Wells, Azton and Madireddy, Sandeep and Accomazzi, Alberto},
  journal = {arXiv e-prints},
  year = {2024},
  eprint = {2407.11194},
  archivePrefix = {arXiv}
}""",
    "astromlab3": """@article{dehaan2024astromlab3,
  title = {{AstroMLab 3}: Achieving {GPT-4o} Level Performance in Astronomy with a Specialized
           {8B}-Parameter Large Language Model},
  author = {de Haan, Tijmen and Ting, Yuan-Sen and Ghosal, Tirthankar and Nguyen, Tuan Dung and
            Accomazzi, Alberto and Wells, Azton and Ramachandra, Nesar and Pan, Rui and
            Sun, Zechang},
  journal = {arXiv e-prints},
  year = {2024},
  eprint = {2411.09012},
  archivePrefix = {arXiv}
}""",
    "astromlab4": """@article{dehaan2025astromlab4,
  title = {{AstroMLab 4}: Benchmark-Topping Performance in Astronomy {Q\\&A} with a
           {70B}-Parameter Domain-Specialized Reasoning Model},
  author = {de Haan, Tijmen and Ting, Yuan-Sen and Ghosal, Tirthankar and Nguyen, Tuan Dung and
            Accomazzi, Alberto and Herron, Emily and Lama, Vanessa and Pan, Rui and
            Wells, Azton and Ramachandra, Nesar},
  journal = {arXiv e-prints},
  year = {2025},
  eprint = {2505.17592},
  archivePrefix = {arXiv}
}""",
}
"""Authors and titles as the papers give them."""


def bibtex(own: str | None, papers: Iterable[str]) -> str:
    """Returns the BibTeX entries of a card, the model's own first."""
    entries = [own.strip()] if own and own.strip() else []
    return "\n\n".join([*entries, *(PAPERS[name] for name in papers)])
