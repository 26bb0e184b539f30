"""Weights as they are stored: codebooks, indices of non-zeros, entropy codes, and their sizes."""
