"""Multiple-choice questions: what one is, and reading them from files."""

from eval.items.files import ENDINGS, benchmark_file
from eval.items.item import Item, letter
from eval.items.load import load_items, parse_item, read_items

__all__ = ["ENDINGS", "Item", "benchmark_file", "letter", "load_items", "parse_item", "read_items"]
