"""Finds the sharding of a program: dimensions that go together, what splitting them costs, and which to split."""
