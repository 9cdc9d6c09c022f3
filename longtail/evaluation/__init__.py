"""Metrics, intervals and slices of predictions; how candidates are compared."""
