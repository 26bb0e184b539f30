"""Training and pruning in PyTorch (the extra ``train``): networks and methods."""
