"""Methods that prune weights: masks on layers that keep their size."""
