"""Passes as data, textual pipelines, and what runs them: in native pass managers, in a worker if they can die."""
