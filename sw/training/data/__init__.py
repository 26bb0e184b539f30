"""Images and labels, from data sets and photos, as batches."""
