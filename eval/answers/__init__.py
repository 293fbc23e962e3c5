"""Reading the answer out of what a model wrote."""

from eval.answers.final import Final, read_final
from eval.answers.read import Answer, read_answer

__all__ = ["Answer", "Final", "read_answer", "read_final"]
