"""Derivatives as graphs: reverse accumulation, and forward mode built from it twice."""
