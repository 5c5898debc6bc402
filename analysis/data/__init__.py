"""Calibration and evaluation sets."""
