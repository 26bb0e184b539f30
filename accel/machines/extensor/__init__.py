"""The simulator of ExTensor; the specification is ``docs/extensor.md``."""
