"""Whether a folder's content can be run: whether anybody else could have put it there.

A folder is trusted if it is ours and nobody else may write to it, and if every folder on the way to
it, from the root, is ours or root's and nobody else may rename what is in it: not writable for
group or others, or else sticky, as /tmp is. Links on the way are followed, and the folders on the
way to where they lead are looked at too.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_LINKS_MAXIMUM = 40  # as Linux: path_resolution(7)
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def make_private(directory: Path) -> None:
    """Make a folder and those above it that are missing, all for this user alone."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def is_ours(facts: os.stat_result) -> bool:
    """Whether we own it and nobody else may write to it."""
    if not hasattr(os, "getuid"):  # Windows: the user's own cache folder is private by its ACL
        return True
    return facts.st_uid == os.getuid() and not facts.st_mode & _OTHERS_WRITE


def reason_not_to_trust(directory: Path) -> str:
    """Why what is in this folder may not be run; "" if it may. Raises OSError."""
    facts = directory.stat()
    if not hasattr(os, "getuid"):
        return ""
    if facts.st_uid != os.getuid():
        return f"it belongs to user {facts.st_uid}"
    if facts.st_mode & _OTHERS_WRITE:
        return "others may write to it"
    for folder in _on_the_way(directory):
        facts = folder.stat()
        if facts.st_uid not in (0, os.getuid()):
            return f"{folder} belongs to user {facts.st_uid}"
        if facts.st_mode & _OTHERS_WRITE and not facts.st_mode & stat.S_ISVTX:
            return f"others may write to {folder}"
    return ""


def _on_the_way(directory: Path) -> list[Path]:
    """The folders in which a name is looked up on the way to this one, links followed."""
    waiting, seen, links = list(reversed(directory.absolute().parts)), [], 0
    here = Path(waiting.pop())
    while waiting:
        name = waiting.pop()
        if name == "..":
            here = here.parent
            continue
        if here not in seen:
            seen.append(here)
        following = here / name
        if not following.is_symlink():
            here = following
            continue
        links += 1
        if links > _LINKS_MAXIMUM:
            raise OSError(f"{directory}: too many links")
        target = Path(os.readlink(following))
        if target.is_absolute():
            here = Path(target.anchor)
        waiting += [part for part in reversed(target.parts) if part != target.anchor]
    return seen
