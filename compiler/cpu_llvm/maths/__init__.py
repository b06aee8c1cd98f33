"""Elementary functions on vectors, as LLVM IR without calls; any number of lanes."""
