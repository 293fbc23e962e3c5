"""Files of multiple-choice questions as records, whatever their format."""

from core.questions.names import KEY_NAMES, QUESTION_NAMES, TOPIC_NAMES, plain_name
from core.questions.records import ENDINGS, Record, read_records

__all__ = [
    "ENDINGS",
    "KEY_NAMES",
    "QUESTION_NAMES",
    "TOPIC_NAMES",
    "Record",
    "plain_name",
    "read_records",
]
