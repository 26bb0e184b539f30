"""What the hardware of several machines is made of."""
