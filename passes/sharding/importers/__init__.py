"""Readers of the spellings in which front ends write shardings; `passes.sharding.import_shardings` puts them to use."""
