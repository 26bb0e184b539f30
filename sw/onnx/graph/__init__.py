"""What an ONNX graph stands for while it is imported: values, their sources, the writer."""
