"""Drivers of the chip, in C and in Python, and the C headers that are made for them."""
