"""What pgwerk costs, as a ratio to the least that the same work costs in bare SQL: `python -m benchmarks --help`."""
