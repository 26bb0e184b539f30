"""Executable specification: configuration, tensor format, arithmetic, reference operators."""
