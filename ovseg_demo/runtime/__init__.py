"""The machine: device and precision, threads, memory, and caches."""
