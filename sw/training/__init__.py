"""Training, pruning and quantisation of the networks that come with the project."""
