"""The memory plan: where intermediate buffers lie, and a check of it that shares nothing."""
