"""Reading, writing and looking at StableHLO programs; every other stage starts from what this one returns."""
