"""A language model marks questions that only one paper can answer."""
