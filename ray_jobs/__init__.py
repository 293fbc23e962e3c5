"""Entry points: the `astromill` command line and one submit-able job per stage group."""
