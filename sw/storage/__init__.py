"""Files: checked tensors, networks, and writing them whole."""
