"""Handlers of ONNX operators: each turns a node of a model into what a network can hold."""
