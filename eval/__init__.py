"""Multiple-choice accuracy, held-out perplexity and the HTML report."""
