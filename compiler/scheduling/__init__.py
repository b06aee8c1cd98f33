"""How kernels are run: the order of their sums, and schedules for a machine."""
