"""Who counts points: this process, or workers of Dask; layers outermost, machines inside."""
