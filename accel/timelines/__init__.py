"""What each unit does in each cycle of a layer."""
