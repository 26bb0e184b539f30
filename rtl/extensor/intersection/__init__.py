"""The three levels of intersection of a processing element: tiles, fibres, scalars."""
