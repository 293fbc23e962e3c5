"""Nougat: page images to Markdown by a vision model."""
