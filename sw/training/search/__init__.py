"""Networks of other widths: channels removed with all that depends on them, and supernets."""
