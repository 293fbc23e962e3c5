"""Taking out or rewriting questions that only the reader of one paper can answer."""
