"""What a report costs, side by side with what people would otherwise use: `python -m benchmarks --help`."""
