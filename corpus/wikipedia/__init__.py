"""Wikipedia from its dumps: SQL tables, category search, article streams."""
