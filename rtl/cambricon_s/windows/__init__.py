"""The way of a window through a core: sequenced, fetched, and its neurons selected."""
