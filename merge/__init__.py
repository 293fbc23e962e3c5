"""Merging of fine-tuned models through mergekit."""
