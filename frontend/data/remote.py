"""Data sets that are fetched from where they are published; by pooch (`gradc[data]`).

A file is fetched once, into a folder of the platform's cache, and used only if its SHA-256 is the
one that is written here; pooch says so on standard error. Every later call reads it from there, and
needs no network.
Sources: Y. LeCun, C. Cortes, C. Burges, The MNIST database; H. Xiao, K. Rasul, R. Vollgraf,
Fashion-MNIST, 2017 (arXiv 1708.07747); A. Krizhevsky, Learning Multiple Layers of Features from
Tiny Images, 2009.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from gradc.compiler.errors import FileError

from .cifar import load_cifar10, load_cifar100
from .extras import check_extra
from .files import damaged
from .idx import load_idx

Array = np.ndarray[Any, np.dtype[Any]]
Sets = dict[str, dict[str, Array]]
Folder = str | os.PathLike[str] | None

TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class _Published:
    """name: of the data set and of its folder; places: URLs, tried in order; files: SHA-256 by
    name."""

    name: str
    places: tuple[str, ...]
    files: Mapping[str, str]


MNIST = _Published(
    "mnist",
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    {
        "train-images-idx3-ubyte.gz":
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz":
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz":
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz":
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
)  # fmt: skip
FASHION_MNIST = _Published(
    "fashion-mnist",
    ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    {
        "train-images-idx3-ubyte.gz":
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz":
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz":
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz":
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
)  # fmt: skip
CIFAR10 = _Published(
    "cifar-10",
    ("https://www.cs.toronto.edu/~kriz/",),
    {
        "cifar-10-binary.tar.gz":
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    },
)  # fmt: skip
CIFAR100 = _Published(
    "cifar-100",
    ("https://www.cs.toronto.edu/~kriz/",),
    {
        "cifar-100-binary.tar.gz":
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    },
)  # fmt: skip


def mnist(folder: Folder = None) -> Sets:
    """MNIST: 60,000 handwritten digits to train on and 10,000 held out, fetched at the first call.

    folder  where the files are kept; None: a folder of the platform's cache
    result  {"train": {"images", "labels"}, "validation": {...}}: uint8[n, 1, 28, 28], int32[n],
            as `trainer.fit` and `gradc train` take them

    Raises FileError where a file cannot be fetched or is not the one that was published, and
    ImportError without pooch.

    >>> sets = gc.data.mnist()  # doctest: +SKIP
    >>> trainer.fit(sets["train"], validation=sets["validation"])  # doctest: +SKIP
    """
    return _idx_sets(MNIST, folder, "mnist")


def fashion_mnist(folder: Folder = None) -> Sets:
    """Fashion-MNIST: 70,000 pictures of clothes in the form of MNIST; see `mnist`.

    >>> images = gc.data.fashion_mnist()["train"]["images"]  # doctest: +SKIP
    """
    return _idx_sets(FASHION_MNIST, folder, "fashion_mnist")


def cifar10(folder: Folder = None) -> Sets:
    """CIFAR-10: 50,000 coloured pictures of ten classes to train on and 10,000 held out.

    result  as that of `mnist`, with uint8[n, 3, 32, 32]; CIFAR10_CLASSES names the labels

    >>> images = gc.data.cifar10()["train"]["images"]  # doctest: +SKIP
    """
    return _cifar_sets(CIFAR10, folder, "cifar10", load_cifar10)


def cifar100(folder: Folder = None) -> Sets:
    """CIFAR-100: as CIFAR-10, of a hundred classes; CIFAR100_CLASSES names the labels.

    >>> images = gc.data.cifar100()["train"]["images"]  # doctest: +SKIP
    """
    return _cifar_sets(CIFAR100, folder, "cifar100", load_cifar100)


def _idx_sets(published: _Published, folder: Folder, operation: str) -> Sets:
    found = {}
    for name, prefix in (("train", "train"), ("validation", "t10k")):
        images, labels = (
            load_idx(_fetched(published, f"{prefix}-{kind}-ubyte.gz", folder, operation))
            for kind in ("images-idx3", "labels-idx1")
        )
        found[name] = {"images": images[:, None], "labels": labels.astype(np.int32)}
    return found


def _cifar_sets(
    published: _Published, folder: Folder, operation: str, load: Callable[..., Any]
) -> Sets:
    (archive,) = published.files
    files = _unpacked(_fetched(published, archive, folder, operation), operation)
    parts = {"train": load(files), "validation": load(files, split="test")}
    return {name: {"images": part[0], "labels": part[1]} for name, part in parts.items()}


def _place(published: _Published, folder: Folder) -> Path:
    root = platformdirs.user_cache_path("gradc") / "data" if folder is None else Path(folder)
    return root / published.name


def _fetched(published: _Published, name: str, folder: Folder, operation: str) -> Path:
    """A file of a data set, on this machine."""
    check_extra("pooch", "data", operation)
    import pooch

    reasons = []
    for place in published.places:
        get = pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS)
        try:
            kept = pooch.retrieve(
                place + name,
                f"sha256:{published.files[name]}",
                fname=name,
                path=_place(published, folder),
                downloader=get,
            )
            return Path(kept)
        except Exception as error:  # of the network, of the file system, or another SHA-256
            reasons.append(f"{place}{name}: {_reason(error)}")
    raise FileError(
        f"cannot fetch {name}",
        operation=operation,
        facts=reasons,
        hint=f"fetch it in another way, and put it into {_place(published, folder)}",
    )


def _reason(error: Exception) -> str:
    """The innermost cause in one line."""
    text = str(error).strip().partition("\n")[0]
    if "does not match the known hash" in text:
        return "what came has another SHA-256 than the file that was published"
    return text or type(error).__name__


def _unpacked(archive: Path, operation: str) -> Path:
    """The folder with the .bin files of an archive, beside it; made once, and then as a whole."""
    folder = archive.with_name(archive.name.removesuffix(".tar.gz"))
    if folder.is_dir():
        return folder
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
            made = Path(scratch) / folder.name
            made.mkdir()
            with tarfile.open(archive) as opened:
                for member in opened:
                    name = Path(member.name).name
                    stream = opened.extractfile(member) if name.endswith(".bin") else None
                    if stream is not None:
                        (made / name).write_bytes(stream.read())
            try:
                made.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged(archive, f"as an archive: {error}", operation) from error
    except OSError as error:
        reason = error.strerror or error
        raise FileError(f"cannot unpack {archive}: {reason}", operation=operation) from error
    return folder
