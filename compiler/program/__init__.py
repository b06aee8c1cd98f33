"""The program level: kernels in order over one planned arena."""
