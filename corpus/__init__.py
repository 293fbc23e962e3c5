"""Sources, OCR, cleaning, scoring and packing: raw files to token sequences."""
