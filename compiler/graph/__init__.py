"""The graph level: nodes, text, verifier, reference evaluator, rewriting."""
