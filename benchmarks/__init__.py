"""Measurements of what the project costs, as ratios to bare programs in the same run. `python -m benchmarks.run`."""
