"""Python's search for garbage in cycles, paused while many objects are made that all live on.

A program of thousands of nodes is some hundred thousand objects, next to none of them garbage.
The collector goes over all of them again each time their number has grown by a quarter: a fifth of
the time of compiling a deep network. What is freed by its count of references is freed as ever.

What was made inside then counts as old, like all that has lived through some searches. Else the
first search after the pause, meant for the few objects made since the last one, would go over all
of it: a tenth of the time again.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """No search begins inside; nests, and serves as a decorator.

    Of threads that are inside together the one that came first lets searches begin again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():  # what someone froze is to stay so
                gc.freeze()
                gc.unfreeze()  # into the oldest generation
            gc.enable()
