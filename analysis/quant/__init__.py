"""Grids and formats, range estimators and fake quantization."""
