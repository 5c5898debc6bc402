"""Bitlens as a library: which layers of a network can give up bits, and what that costs."""
