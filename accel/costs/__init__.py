"""Energy and area of machines, each figure with unit, node and source."""
