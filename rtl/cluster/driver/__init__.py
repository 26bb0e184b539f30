"""The host's part of a cluster's contract: what fits, what is written, how results are read."""
