"""Elementary functions on vectors, as LLVM IR without calls; any number of lanes.

Random bits (philox.py) are here too, being as long as a function.
"""
