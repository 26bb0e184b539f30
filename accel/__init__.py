"""The cycle-level simulator, reports and the command line."""
