"""Passes as data, textual pipelines, and the machinery that runs them: in one native PassManager, isolated if it can die."""
