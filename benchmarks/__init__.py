"""What pages cost at a million messages: `python -m benchmarks`, or `make bench`."""
