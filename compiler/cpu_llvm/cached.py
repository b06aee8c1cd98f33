"""Text LLVM IR to object bytes, through the cache on disk.

Key: SHA-256 of the module's text, LLVM's and llvmlite's versions, triple, CPU, features, options.
"""

from __future__ import annotations

import hashlib

from ..object_cache import ObjectCache
from .target import Optimize, Target, compile_module


def object_key(text: str, target: Target, optimize: Optimize) -> str:
    """The name of the object that this text compiles to."""
    digest = hashlib.sha256(f"{optimize}\n{target.describe()}\n".encode())
    digest.update(text.encode())
    return digest.hexdigest()


def compile_cached(text: str, target: Target, optimize: Optimize, cache: ObjectCache) -> bytes:
    """`compile_module`, from the cache where it has been done before."""
    key = object_key(text, target, optimize)
    payload = cache.load(key)
    if payload is None:
        payload = compile_module(text, target, optimize)
        cache.store(key, payload)
    return payload
