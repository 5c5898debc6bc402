"""Latency tables: reading and writing them as CSV, and measuring one on this machine.

How a table is read for a network's layers is :mod:`analysis.models.latency`.
"""
