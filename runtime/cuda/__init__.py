"""Running launch tables on a device of CUDA, through the driver's own interface alone."""
