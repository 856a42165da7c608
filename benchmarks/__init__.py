"""What the hub costs, beside floors that are measured in the same run: `python -m benchmarks`, or `make bench`."""
