"""What was counted: rows in a store, objectives, a study of them and its exports."""
