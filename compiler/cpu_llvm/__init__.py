"""The CPU back end: text LLVM IR through llvmlite."""
