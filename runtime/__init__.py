"""Loading and running a compiled artefact."""
