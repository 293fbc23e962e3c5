"""Score against cost: the value score and its figures."""
