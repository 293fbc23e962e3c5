"""Multiple-choice questions answered by a model."""
