"""Distributions: what every tensor of a network holds, and what its range costs."""
