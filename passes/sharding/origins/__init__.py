"""How shardings came about: Shardy's notes of every step of propagation, read backwards from any tensor."""
