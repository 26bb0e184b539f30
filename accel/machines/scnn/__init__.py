"""The simulator of SCNN; the specification is ``docs/scnn.md``."""
