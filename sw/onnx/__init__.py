"""ONNX models: read, prepared, and turned into a ``golden.network.Network``."""
