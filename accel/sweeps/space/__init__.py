"""Which machines a sweep looks at: axes, expressions, points, pruned networks."""
