"""The frontend: importing, pruning, quantising, compressing and storing networks."""
