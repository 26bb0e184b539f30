"""The hardware of a Cambricon-S core; ``docs/cambricon-s.md``."""
