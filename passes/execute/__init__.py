"""Running programs on simulated devices and comparing what they return."""
