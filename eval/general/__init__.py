"""General benchmarks through lm-eval."""
