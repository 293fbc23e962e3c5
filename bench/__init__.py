"""Measurements against peers, in one run. Not part of the tests."""
