"""Near duplicates by MinHash: signatures of texts, and who among alike ones survives."""
