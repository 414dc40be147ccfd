"""What a program costs: work, bytes moved to memory and between devices, memory held, time on a device."""
