"""Code for NVIDIA GPUs: kernels as Triton text, compiled to cubins; see docs/gpu.md."""
