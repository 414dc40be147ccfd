"""Sharding annotations: what users state about arguments, propagated over the whole program by Shardy."""
