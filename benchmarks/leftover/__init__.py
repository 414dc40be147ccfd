"""Counts what an optimizer left behind, without any code of the optimizer: see ``benchmarks/leftovers.py``."""
