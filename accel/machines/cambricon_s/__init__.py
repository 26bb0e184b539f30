"""The simulator of Cambricon-S; the specification is ``docs/cambricon-s.md``."""
