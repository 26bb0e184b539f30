"""The machine kinds: configuration, latencies, counters of each."""
