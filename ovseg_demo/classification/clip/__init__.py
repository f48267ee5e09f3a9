"""CLIP: image tower, text tower, tokenizer and prompts."""
