"""Delta debugging: the smallest program that still shows what a predicate looks for."""
