"""Sparse mixture-of-experts: its ops, layers made of them, and dense layers rewritten to them."""
