"""Reading the answer out of what a model wrote."""

from eval.answers.final import Final, read_final
from eval.answers.read import Answer, read_answer
from eval.answers.text import TRUNCATED

__all__ = ["TRUNCATED", "Answer", "Final", "read_answer", "read_final"]
