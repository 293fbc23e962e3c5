"""Synthetic Q&A and chat rendering: documents to conversations to token sequences."""
