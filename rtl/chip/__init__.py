"""The chip of ``docs/chip.md``: clusters, and what runs whole networks from memory on them."""
