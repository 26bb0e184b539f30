"""Many cluster machines at once: sixteen of them are the lanes of a vector."""
