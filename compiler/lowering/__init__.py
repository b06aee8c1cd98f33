"""From an optimised graph to kernels: groups of nodes, and the loops that compute them."""
