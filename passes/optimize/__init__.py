"""Passes that shrink a program without changing a single bit of its results."""
