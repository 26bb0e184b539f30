"""Pruning in any training loop (``Pruner``), and a report before it (``check``)."""
