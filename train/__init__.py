"""Models: tokenizer and base model, continued pretraining, supervised fine-tuning."""
