"""Accuracy with intervals, perplexity, and what they say."""
