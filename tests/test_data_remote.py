"""Data sets that are fetched: from a server on this machine, checked, kept, and refused."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import struct
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradc.compiler.errors import FileError
from gradc.data import cifar10, cifar100, fashion_mnist, mnist, remote

RNG = np.random.default_rng(0)


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder, and counts what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, []  # type: ignore[var-annotated]
        handler = functools.partial(_Handler, directory=str(folder))
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        super().do_GET()

    def log_message(self, format: str, *values: object) -> None:
        pass


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an environment says of a proxy is not for this machine's own address."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "served"
    folder.mkdir()
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def serve(
    monkeypatch: pytest.MonkeyPatch, server: Server, name: str, files: dict[str, bytes]
) -> None:
    """Publish these files as the data set of this name in `remote`."""
    sums = {}
    for file, content in files.items():
        (server.folder / file).write_bytes(content)
        sums[file] = hashlib.sha256(content).hexdigest()
    published = replace(getattr(remote, name), places=(server.url,), files=sums)
    monkeypatch.setattr(remote, name, published)


def idx(array: np.ndarray) -> bytes:  # type: ignore[type-arg]
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.tobytes())


def idx_files() -> dict[str, bytes]:
    files = {}
    for prefix, samples in (("train", 5), ("t10k", 3)):
        images = RNG.integers(0, 256, (samples, 28, 28), np.uint8)
        files[f"{prefix}-images-idx3-ubyte.gz"] = idx(images)
        files[f"{prefix}-labels-idx1-ubyte.gz"] = idx(np.arange(samples, dtype=np.uint8))
    return files


def archive(folder: str, files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as written:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            written.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_sets_are_fetched_once(
    name: str, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(monkeypatch, server, name.upper(), idx_files())
    load = {"mnist": mnist, "fashion_mnist": fashion_mnist}[name]
    sets = load(tmp_path / "kept")
    assert sets["train"]["images"].shape == (5, 1, 28, 28)
    assert sets["train"]["images"].dtype == np.uint8
    assert sets["validation"]["labels"].tolist() == [0, 1, 2]
    assert sets["validation"]["labels"].dtype == np.int32
    assert len(server.asked) == 4
    again = load(tmp_path / "kept")
    assert len(server.asked) == 4
    assert np.array_equal(again["train"]["images"], sets["train"]["images"])


def test_cifar_archives(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def records(labels: list[list[int]]) -> bytes:
        points = RNG.integers(0, 256, (len(labels), 3072), np.uint8)
        return np.concatenate([np.array(labels, np.uint8), points], axis=1).tobytes()

    ten = {f"data_batch_{n}.bin": records([[n]]) for n in range(1, 6)}
    ten |= {"test_batch.bin": records([[9], [0]]), "readme.html": b"<html>", "../out.bin": b"no"}
    content = archive("cifar-10-batches-bin", ten)
    serve(monkeypatch, server, "CIFAR10", {"cifar-10-binary.tar.gz": content})
    sets = cifar10(tmp_path / "kept")
    assert sets["train"]["labels"].tolist() == [1, 2, 3, 4, 5]
    assert sets["validation"]["images"].shape == (2, 3, 32, 32)
    cifar10(tmp_path / "kept")
    assert len(server.asked) == 1
    written = {str(p.relative_to(tmp_path)) for p in (tmp_path / "kept").rglob("*.bin")}
    assert all(name.startswith("kept/cifar-10/cifar-10-binary/") for name in written)

    hundred = {"train.bin": records([[19, 99]] * 3), "test.bin": records([[0, 4]])}
    content = archive("cifar-100-binary", hundred)
    serve(monkeypatch, server, "CIFAR100", {"cifar-100-binary.tar.gz": content})
    sets = cifar100(tmp_path / "kept")
    assert sets["train"]["labels"].tolist() == [99] * 3
    assert sets["validation"]["labels"].tolist() == [4]


def test_another_file_than_the_published_one(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its SHA-256 differs: nothing is kept, and the next call asks again."""
    serve(monkeypatch, server, "MNIST", idx_files())
    name = "train-images-idx3-ubyte.gz"
    right = (server.folder / name).read_bytes()
    (server.folder / name).write_bytes(right[:-1] + b"x")
    with pytest.raises(FileError) as raised:
        mnist(tmp_path / "kept")
    assert str(raised.value) == (
        f"mnist: cannot fetch {name}\n"
        f"  {server.url}{name}: what came has another SHA-256 than the file that was published\n"
        f"  hint: fetch it in another way, and put it into {tmp_path / 'kept' / 'mnist'}"
    )
    assert not (tmp_path / "kept" / "mnist" / name).exists()
    (server.folder / name).write_bytes(right)
    assert len(mnist(tmp_path / "kept")["train"]["labels"]) == 5


def test_a_kept_file_that_was_changed_is_fetched_anew(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(monkeypatch, server, "MNIST", idx_files())
    first = mnist(tmp_path)
    kept = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    kept.write_bytes(idx(np.arange(9, dtype=np.uint8)))
    second = mnist(tmp_path)
    assert second["validation"]["labels"].tolist() == first["validation"]["labels"].tolist()
    assert len(server.asked) == 5


def test_the_next_place_is_tried(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(monkeypatch, server, "MNIST", idx_files())
    places = (server.url + "gone/", server.url)
    monkeypatch.setattr(remote, "MNIST", replace(remote.MNIST, places=places))
    assert len(mnist(tmp_path / "kept")["train"]["labels"]) == 5
    assert server.asked[:2] == ["/gone/train-images-idx3-ubyte.gz", "/train-images-idx3-ubyte.gz"]


def test_no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    places = ("http://127.0.0.1:9/", "http://127.0.0.1:9/other/")
    monkeypatch.setattr(remote, "MNIST", replace(remote.MNIST, places=places))
    with pytest.raises(FileError) as raised:
        mnist(tmp_path / "kept")
    text = str(raised.value)
    assert text.startswith("mnist: cannot fetch train-images-idx3-ubyte.gz\n")
    assert text.count("train-images-idx3-ubyte.gz: ") == 2 and len(text.splitlines()) == 4


def test_a_damaged_archive(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whole, as its SHA-256 says, and yet no archive: said, and not taken for complete."""
    whole = archive("cifar-10-batches-bin", {"test_batch.bin": bytes(3073)})
    serve(monkeypatch, server, "CIFAR10", {"cifar-10-binary.tar.gz": whole[:-20]})
    for _ in range(2):
        with pytest.raises(FileError, match=r"cifar10: .*tar\.gz is damaged"):
            cifar10(tmp_path)


def test_another_process_unpacks_at_the_same_time(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    batches = {f"data_batch_{n}.bin": bytes(3073) for n in range(1, 6)}
    content = archive("cifar-10-batches-bin", {**batches, "test_batch.bin": bytes(3073)})
    serve(monkeypatch, server, "CIFAR10", {"cifar-10-binary.tar.gz": content})
    inner = tarfile.open

    def other_first(path: Path) -> tarfile.TarFile:
        monkeypatch.setattr(tarfile, "open", inner)
        cifar10(tmp_path)
        return inner(path)

    monkeypatch.setattr(tarfile, "open", other_first)
    assert len(cifar10(tmp_path)["train"]["labels"]) == 5
    assert {path.name for path in (tmp_path / "cifar-10").iterdir()} == {
        "cifar-10-binary",
        "cifar-10-binary.tar.gz",
    }


def test_every_published_file_has_a_sha256_and_a_place() -> None:
    for published in (remote.MNIST, remote.FASHION_MNIST, remote.CIFAR10, remote.CIFAR100):
        assert all(place.endswith("/") for place in published.places) and published.places
        assert all(len(bytes.fromhex(sum)) == 32 for sum in published.files.values())
