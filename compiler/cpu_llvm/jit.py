"""Loads compiled objects into this process.

In: bytes of a relocatable object for the host.
Out: addresses of its functions, valid as long as the `LoadedObject` lives.

Symbols that the object does not define come from the process itself (libc, pthreads).
Engine: LLVM's LLJIT; it links an object in about 0.2 ms and runs no optimiser.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import llvmlite.binding as llvm

from ..errors import CompileError
from .target import find_target, target_machine


class LoadedObject:
    """Code in memory. Whoever may still call it keeps this object: its end unloads the code."""

    def __init__(self, tracker: Any, addresses: Mapping[str, int]) -> None:
        self._tracker = tracker
        self.addresses = dict(addresses)

    def address(self, symbol: str) -> int:
        """Address of one of the symbols asked for when the object was loaded."""
        return self.addresses[symbol]


class Engine:
    """One LLJIT and the counter that gives each library in it a name of its own."""

    def __init__(self) -> None:
        self._lljit = llvm.create_lljit_compiler(target_machine(find_target("native")))
        self._serial = itertools.count()

    def load(
        self, payload: bytes, symbols: Sequence[str], imports: Mapping[str, int] | None = None
    ) -> LoadedObject:
        """Link an object and look up `symbols`; `imports` gives addresses for names it calls.

        Raises CompileError when a symbol is missing or the bytes are no object for this host.
        """
        builder = llvm.JITLibraryBuilder().add_object_img(payload).add_current_process()
        for symbol in symbols:
            builder.export_symbol(symbol)
        for name, address in (imports or {}).items():
            builder.import_symbol(name, address)
        try:
            tracker = builder.link(self._lljit, f"gradc.{next(self._serial)}")
            addresses = {symbol: int(tracker[symbol]) for symbol in symbols}
        except RuntimeError as error:
            raise CompileError(
                "the object does not load",
                operation=symbols[0] if symbols else "",
                facts=str(error).strip().splitlines()[:6],
            ) from error
        return LoadedObject(tracker, addresses)


@functools.cache
def process_engine() -> Engine:
    """The engine that this process shares."""
    return Engine()
