"""Measured accuracy with intervals, and paired comparison."""
