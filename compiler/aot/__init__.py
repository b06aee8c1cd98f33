"""Ahead-of-time compilation: training programs become executables, libraries, object files."""
