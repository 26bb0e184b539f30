"""What the chip does next: the program's descriptors and tables, jobs, what a cycle is spent on."""
