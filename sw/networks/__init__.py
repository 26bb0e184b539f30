"""The networks that come with the project."""
