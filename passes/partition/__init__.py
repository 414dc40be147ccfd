"""From a global program with shardings to the per-device program with explicit StableHLO collectives."""
