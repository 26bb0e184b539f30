"""Training in phases: what is minimised and measured, checkpoints, progress."""
