"""Loops of OCR models found and cut."""
