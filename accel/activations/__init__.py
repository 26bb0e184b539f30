"""What every layer reads and makes: fast exact operators, nodes of the host, traces on disk."""
