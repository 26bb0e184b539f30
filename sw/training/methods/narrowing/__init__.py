"""Methods that remove channels: layers of fewer filters."""
