"""Hardware of ExTensor's processing element; specification: ``docs/extensor.md``."""
