"""From rows of memory to rows of memory: parser, ring, and the vector unit behind the core."""
