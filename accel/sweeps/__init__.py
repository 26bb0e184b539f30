"""Sweeps: many machines of a space, each with its figures, kept and searched."""
