"""Logic cells and clock of the hardware on an ECP5: ``python -m rtl.synth``."""
