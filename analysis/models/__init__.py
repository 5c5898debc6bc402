"""Models: where they come from, their weights, and what quantization sees of them."""
