"""Files that a reader of checkpoints must refuse, or must take though they look odd: one table.

Both readers are tested with it, the one of Python and the native one, with the same verdicts. The
files are made of one good checkpoint, of the program in fake_artifact.py.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fake_artifact import INPUTS, FakeArtifact, made_data

from gradc.runtime import EarlyStopping, Trainer
from gradc.runtime.record import canonical_json, float_bits

Header = dict[str, Any]
Position = dict[str, Any]

LOAD, RESUME = "load", "resume"
EPOCHS = 3


def trainer() -> Trainer:
    """A fresh trainer of the fake program."""
    return Trainer(FakeArtifact(), INPUTS, "batch", ("error",), ("prediction",), 0, 1)


def fit(made: Trainer, path: Path, resume: bool) -> None:
    """The run that the good checkpoint is of. Resumed from a finished one, nothing is written."""
    made.fit(
        made_data(20), batch_size=8, epochs=EPOCHS, validation=made_data(9, 1), checkpoint=path,
        early_stopping=EarlyStopping(patience=9), resume=resume,
    )  # fmt: skip


def good_checkpoint(folder: Path) -> bytes:
    """A whole one: with a best state and a history of four columns."""
    path = folder / "good"
    fit(trainer(), path, resume=False)
    return path.read_bytes()


# ---------------------------------------------------------------- parts of a file


def parts(content: bytes) -> tuple[Header, bytes]:
    """Header and data of a good file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: Header | str | bytes, data: bytes) -> bytes:
    """A file, with its header written as a writer of gradc does, or as given."""
    if isinstance(header, dict):
        header = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
        header += " " * (-len(header.encode()) % 8)
    text = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(text)) + text + data


def position_text(content: bytes) -> str:
    return str(parts(content)[0]["__metadata__"]["gradc"])


def sealed(text: str, header: Header, data: bytes) -> bytes:
    """A file with this position, in which `"checksum":"...",` becomes the right one."""
    at = text.index('"checksum":"')
    rest = text[:at] + text[text.index('",', at) + 2 :]
    digest = hashlib.sha256(rest.encode() + b"\n")
    for name, tensor in sorted(header.items()):
        if name != "__metadata__":
            extents = ",".join(map(str, tensor["shape"]))
            start, end = tensor["data_offsets"]
            digest.update(f"{name} {tensor['dtype']} {extents}\n".encode() + data[start:end])
    text = text[:at] + f'"checksum":"{digest.hexdigest()}",' + text[text.index('",', at) + 2 :]
    return joined(header | {"__metadata__": {"gradc": text}}, data)


def in_text(old: str, new: str) -> Callable[[bytes], bytes]:
    """Replace a part of the position's text; the checksum is right."""

    def make(content: bytes) -> bytes:
        text = position_text(content)
        assert text.count(old) == 1, (old, text)
        return sealed(text.replace(old, new), *parts(content))

    return make


def in_position(**values: Any) -> Callable[[bytes], bytes]:
    """Set values of the position; ... takes one away. The checksum is right."""

    def make(content: bytes) -> bytes:
        position = json.loads(position_text(content)) | values
        position = {key: value for key, value in position.items() if value is not ...}
        return sealed(canonical_json(position), *parts(content))

    return make


def in_tensors(change: Callable[[dict[str, np.ndarray[Any, Any]]], Any]) -> Callable[..., bytes]:
    """Change the tensors, all of dtypes that NumPy has; the file is written anew."""

    def make(content: bytes) -> bytes:
        header, data = parts(content)
        metadata = header.pop("__metadata__")
        types = {"F64": "<f8", "F32": "<f4", "I64": "<i8"}
        arrays = {
            name: np.frombuffer(data[slice(*t["data_offsets"])], types[t["dtype"]]).reshape(
                t["shape"]
            )
            for name, t in header.items()
        }
        change(arrays)
        shorts = {np.dtype(type_): short for short, type_ in types.items()}
        new: Header = {"__metadata__": metadata}
        content = b""
        for name, array in sorted(
            arrays.items(), key=lambda pair: (["I64", "F64", "F32"].index(shorts[pair[1].dtype]),
                                              pair[0])
        ):  # fmt: skip
            begin, content = len(content), content + array.tobytes()
            new[name] = {"dtype": shorts[array.dtype], "shape": list(array.shape),
                         "data_offsets": [begin, len(content)]}  # fmt: skip
        return sealed(metadata["gradc"], new, content)

    return make


def in_header(change: Callable[[Header], Any]) -> Callable[[bytes], bytes]:
    """Change the header; nothing else follows it."""

    def make(content: bytes) -> bytes:
        header, data = parts(content)
        changed = change(header)
        return joined(header if changed is None or isinstance(changed, dict) else changed, data)

    return make


def parameters_alone(content: bytes, metadata: Any = None) -> bytes:
    """The parameters as another program would write them."""
    header, data = parts(content)
    new: Header = {} if metadata is None else {"__metadata__": metadata}
    kept = b""
    for name in ("layer.bias", "layer.weight"):
        begin, end = header[name]["data_offsets"]
        place = [len(kept), len(kept) + end - begin]
        kept += data[begin:end]
        new[name] = header[name] | {"data_offsets": place}
    return joined(json.dumps(new, indent=1), kept)


# ---------------------------------------------------------------- the table


@dataclass(frozen=True)
class Hostile:
    """A file, made of the good one, and what it may be used for: LOAD, RESUME, both or nothing."""

    name: str
    make: Callable[[bytes], bytes]
    taken: tuple[str, ...] = ()


BOTH = (LOAD, RESUME)
LEGAL = (
    Hostile("the good one", lambda c: c, BOTH),
    Hostile("another key in the position", in_text('"seed":0', '"extra":{"a":[1.5]},"seed":0'),
            BOTH),
    Hostile("keys in another order", lambda c: sealed(
        canonical_json(dict(json.loads(position_text(c)))).replace('"seed":0,', "").replace(
            '{"batch_size"', '{"seed":0,"batch_size"'), *parts(c)), BOTH),
    Hostile("spaces in the position", in_text('"seed":0', '"seed" : 0 '), BOTH),
    Hostile("numbers that are not finite", in_position(sums=["7ff0000000000000", float_bits(0.0)]),
            BOTH),
    Hostile("a count at its limit", in_position(step=2**53), BOTH),
    Hostile("a seed at its limit", in_position(seed=-(2**63)), BOTH),
    Hostile("another program", in_position(fingerprint="other"), (LOAD,)),
    Hostile("a zero in the fingerprint", in_text('"fake"', '"fake\\u0000"'), (LOAD,)),
    Hostile("sums of another program", in_position(sums=[]), (LOAD,)),
    Hostile("parameters alone", parameters_alone, (LOAD,)),
    Hostile("parameters of another library", lambda c: parameters_alone(c, {"format": "pt"}),
            (LOAD,)),
    Hostile("parameters with an empty __metadata__", lambda c: parameters_alone(c, {}), (LOAD,)),
)  # fmt: skip


def _first_format(content: bytes) -> bytes:
    """The same run in the format before: the history is in the position."""
    header, data = parts(content)
    position = json.loads(header["__metadata__"]["gradc"]) | {"format": 1}
    for name in position["history"]:
        start, end = header[f"gradc.history/{name}"]["data_offsets"]
        numbers = np.frombuffer(data[start:end], "<f8")
        position["history"][name] = [float_bits(number) for number in numbers]
    header["__metadata__"]["gradc"] = canonical_json(position)
    joined_file = joined(header, data)

    def drop(arrays: dict[str, Any]) -> None:
        for name in position["history"]:
            del arrays[f"gradc.history/{name}"]

    return in_tensors(drop)(joined_file)


def _cut(size: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:size]


def _replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def make(content: bytes) -> bytes:
        assert content.count(old) == 1
        return content.replace(old, new)

    return make


def _tensor(**facts: Any) -> Callable[[bytes], bytes]:
    """Change the description of one tensor; the position stays without its checksum."""
    return in_header(lambda header: header["layer.bias"].update(facts))


def _padded_with(byte: str) -> Callable[[bytes], bytes]:
    def make(content: bytes) -> bytes:
        header, data = parts(content)
        return joined(json.dumps(header, separators=(",", ":")) + byte * 8, data)

    return make


def _metadata(value: Any) -> Callable[[bytes], bytes]:
    return in_header(lambda header: header.update(__metadata__=value))


def _as_text(old: str, new: str) -> Callable[[bytes], bytes]:
    """Change the text of the header."""

    def make(content: bytes) -> bytes:
        header, data = parts(content)
        text = json.dumps(header, separators=(",", ":"))
        assert old in text
        return joined(text.replace(old, new, 1), data)

    return make


STRUCTURE = (
    Hostile("empty", _cut(0)),
    Hostile("seven bytes", _cut(7)),
    Hostile("a length alone", _cut(8)),
    Hostile("cut in the header", _cut(100)),
    Hostile("cut in the data", lambda c: c[:-1]),
    Hostile("a byte more", lambda c: c + b"x"),
    Hostile("a header of 2^63 bytes", lambda c: struct.pack("<Q", 2**63) + c[8:]),
    Hostile("a header longer than the file", lambda c: struct.pack("<Q", len(c)) + c[8:]),
    Hostile("a list as header", lambda c: joined("[]", b"")),
    Hostile("a header without tensors", lambda c: joined("{}", b"")),
    Hostile("a header that is not JSON", lambda c: joined("{", b"")),
    Hostile("a byte order mark", lambda c: joined("\ufeff{}", b"")),
    Hostile("bytes that are no UTF-8", lambda c: joined(b'{"\xff":{}}', b"")),
    Hostile("nesting", lambda c: joined('{"a":' * 200_000, b"")),
    Hostile("nesting of lists", lambda c: joined('{"a":' + "[" * 200_000, b"")),
    Hostile("NaN in the header", _as_text('"dtype":"F32"', '"x":NaN,"dtype":"F32"')),
    Hostile("1e999 in the header", _as_text('"dtype":"F32"', '"x":1e999,"dtype":"F32"')),
    Hostile("half of a character", _as_text('"dtype":"F32"', '"x":"\\ud83d","dtype":"F32"')),
    Hostile("spaces in the header", in_header(json.dumps)),
    Hostile("a header that ends with newlines", _padded_with("\n")),
    Hostile("a header that ends with tabs", _padded_with("\t")),
    Hostile("a header with more padding", _padded_with(" ")),
    Hostile("no metadata", in_header(lambda header: header.pop("__metadata__") and None)),
    Hostile("metadata: null", _metadata(None)),
    Hostile("metadata: a list", _metadata([])),
    Hostile("metadata: a text", _metadata("gradc")),
    Hostile("metadata: empty", _metadata({})),
    Hostile("metadata: numbers", _metadata({"gradc": 1})),
    Hostile("metadata: null in it", _metadata({"gradc": None})),
    Hostile("metadata: a flipped key", _replaced(b'{"gradc":', b'{"grabc":')),
    Hostile("metadata: two keys", in_header(lambda header: header["__metadata__"].update(a="b"))),
    Hostile("metadata: twice", _as_text('{"__metadata__":', '{"__metadata__":{},"__metadata__":')),
    Hostile("metadata: the position twice", _as_text('{"gradc":', '{"gradc":"","gradc":')),
    Hostile("metadata: a flipped name", _replaced(b'"__metadata__"', b'"__metadatb__"')),
    Hostile("a name twice", _as_text('"layer.bias":', '"layer.weight":')),
    Hostile("a name with a zero", _as_text('"layer.bias":', '"layer.bias\\u0000":')),
    Hostile("a dtype that nobody has", _tensor(dtype="F4")),
    Hostile("a dtype of the library", _tensor(dtype="F8_E4M3", shape=[8])),
    Hostile("a dtype of the same size", _tensor(dtype="I32")),
    Hostile("a dtype that is no text", _tensor(dtype={"F32": None})),
    Hostile("no dtype", _tensor(dtype=None)),
    Hostile("a key of a tensor twice", _as_text('{"dtype":"F32"', '{"dtype":"F32","dtype":"F32"')),
    Hostile("33 axes", _tensor(shape=[1] * 32 + [2])),
    Hostile("65 axes", _tensor(shape=[1] * 64 + [2])),
    Hostile("1000 axes", _tensor(shape=[1] * 999 + [2])),
    Hostile("a negative extent", _tensor(shape=[-2])),
    Hostile("an extent that is no integer", _tensor(shape=[2.0])),
    Hostile("an extent that is a bool", _tensor(shape=[2, True])),
    Hostile("an extent of -0", _as_text('"shape":[2]', '"shape":[-0]')),
    Hostile("an extent of 2^63", _tensor(shape=[0, 2**63])),
    Hostile("an extent of 2^64 + 2", _tensor(shape=[2**64 + 2])),
    Hostile("a shape whose product overflows", _tensor(shape=[2**33, 2**33])),
    Hostile("an empty shape that NumPy cannot hold", lambda c: joined(
        {"a": {"dtype": "F32", "shape": [0, 2**62, 4], "data_offsets": [0, 0]}}, b"")),
    Hostile("a shape that is a number", _tensor(shape=2)),
    Hostile("three offsets", _tensor(data_offsets=[0, 8, 8])),
    Hostile("offsets past the end", _tensor(data_offsets=[2**40, 2**40 + 8])),
    Hostile("offsets at the end of all numbers", _tensor(data_offsets=[2**63 - 9, 2**63 - 1])),
    Hostile("offsets that overlap", _tensor(data_offsets=[0, 8])),
    Hostile("a description that is a list", in_header(
        lambda header: header.update({"layer.bias": ["F32", [2], [0, 8]]}))),
    Hostile("a tensor that is missing", in_tensors(lambda a: a.pop("layer.bias"))),
    Hostile("a tensor of nobody", in_tensors(lambda a: a.update(extra=np.zeros(1)))),
    Hostile("a shape that differs", in_tensors(
        lambda a: a.update({"layer.bias": a["layer.bias"].reshape(1, 2)}))),
    Hostile("a dtype that differs", in_tensors(
        lambda a: a.update({"layer.bias": a["layer.bias"].astype("<f8")}))),
    Hostile("a best state with a hole", in_tensors(lambda a: a.pop("gradc.best/layer.bias"))),
    Hostile("a best state of nobody", in_tensors(
        lambda a: a.update({"gradc.best/": np.zeros(1)}))),
    Hostile("parameters and a step", lambda c: parameters_alone(c).replace(
        b'"layer.bias"', b'"gradc.step"')),
    Hostile("parameters and escapes", lambda c: parameters_alone(c).replace(
        b'"layer.bias"', b'"\\u001b]0;x\\u0007\\u202e\\u009b2J"')),
)  # fmt: skip

_COUNTS = ("batch_size", "epoch", "position", "rows", "samples", "step", "waited")
_WRONG_COUNTS = (-1, 2**53 + 1, 2**61 - 1, 2**63 - 1, 2**63, 10**30, 1.0, True, None, "1", [1], {})
_WRONG_FLOATS = (
    "3ff0000 00000000", " 3ff000000000000", "3ff000000000000", "3ff00000000000000",
    "3FF0000000000000", "0x3ff00000000000", "3ff_000000000000", "3ff000000000000\u0663", "", 1.0,
    None, True, ["3ff0000000000000"],
)  # fmt: skip


def _sums(first: Any) -> Callable[[bytes], bytes]:
    return in_position(sums=[first, float_bits(0.0)])


def _history(**changed: Any) -> Callable[[bytes], bytes]:
    columns = {"loss": 3, "error": 3, "validation_loss": 3, "validation_error": 3} | changed
    return in_position(history={n: length for n, length in columns.items() if length is not ...})


def _column(name: str, values: Any) -> Callable[[bytes], bytes]:
    return in_tensors(lambda arrays: arrays.update({f"gradc.history/{name}": values}))


def _unsealed(old: str, new: str) -> Callable[[bytes], bytes]:
    """Change the position's text, not its checksum."""

    def make(content: bytes) -> bytes:
        header, data = parts(content)
        text = header["__metadata__"]["gradc"]
        assert old in text
        return joined(header | {"__metadata__": {"gradc": text.replace(old, new, 1)}}, data)

    return make


def _checksum(change: Callable[[str], str]) -> Callable[[bytes], bytes]:
    def make(content: bytes) -> bytes:
        own = json.loads(position_text(content))["checksum"]
        return _unsealed(own, change(own))(content)

    return make


def _with_column_of_nobody(content: bytes) -> bytes:
    return _history(nobody=1)(_column("nobody", np.ones(1))(content))


POSITION = (
    *(Hostile(f"{key} is {value!r}", in_position(**{key: value}))
      for key in _COUNTS for value in _WRONG_COUNTS),
    *(Hostile(f"best_epoch is {value!r}", in_position(best_epoch=value))
      for value in (-2, *_WRONG_COUNTS[1:])),
    *(Hostile(f"seed is {value!r}", in_position(seed=value))
      for value in (2**63, -(2**63) - 1, 1.0, True, None, "1")),
    *(Hostile(f"{key} is {value!r}", in_position(**{key: value}))
      for key in ("finished", "shuffle", "drop_last") for value in (0, 1, None, "true", [])),
    *(Hostile(f"format is {value!r}", in_position(format=value))
      for value in (0, 3, -1, 2.0, True, None, "2", 10**30)),
    *(Hostile(f"fingerprint is {value!r}", in_position(fingerprint=value))
      for value in (1, None, ["fake"])),
    *(Hostile(f"sums hold {value!r}", _sums(value)) for value in _WRONG_FLOATS),
    *(Hostile(f"best is {value!r}", in_position(best=value))
      for value in _WRONG_FLOATS if value is not None),
    *(Hostile(f"sums are {value!r}", in_position(sums=value)) for value in (None, 1, {}, "")),
    *(Hostile(f"history is {value!r}", in_position(history=value)) for value in (None, 1, [], "")),
    *(Hostile(f"without {key}", in_position(**{key: ...}))
      for key in (*_COUNTS, "seed", "best", "best_epoch", "finished", "shuffle", "drop_last",
                  "format", "fingerprint", "sums", "history")),
    Hostile("no checksum", lambda c: _unsealed('"checksum":', '"checksun":')(c)),
    Hostile("a checksum of another file", _checksum(lambda own: own[::-1])),
    Hostile("a checksum in capitals", _checksum(str.upper)),
    Hostile("a checksum cut", _checksum(lambda own: own[:-1])),
    Hostile("a checksum that is a number", _unsealed('"checksum":"', '"checksum":1,"x":"')),
    Hostile("a position that is not JSON", _metadata({"gradc": "{"})),
    Hostile("a position that is a list", _metadata({"gradc": "[]"})),
    Hostile("a position that is empty", _metadata({"gradc": ""})),
    Hostile("NaN in the position", in_text('"seed":0', '"extra":NaN,"seed":0')),
    Hostile("Infinity in the position", in_text('"seed":0', '"extra":-Infinity,"seed":0')),
    Hostile("1e999 in the position", in_text('"seed":0', '"extra":1e999,"seed":0')),
    Hostile("5000 digits", in_text('"seed":0', '"extra":' + "1" * 5000 + ',"seed":0')),
    Hostile("half of a character in the position", in_text('"seed":0', '"x":"\\udc00","seed":0')),
    Hostile("nesting in the position", in_text(
        '"seed":0', '"x":' + "[" * 5000 + "]" * 5000 + ',"seed":0')),
    Hostile("-0", in_text('"position":0', '"position":-0')),
    Hostile("a leading zero", in_text('"position":0', '"position":00')),
    Hostile("an exponent", in_text('"position":0', '"position":0e0')),
    Hostile("a key twice", in_text('"position":0', '"position":0,"position":0')),
    Hostile("a key with a zero", in_text('"position":0', '"position\\u0000":0')),
    Hostile("more epochs than steps", in_position(step=2)),
    Hostile("a best epoch that is not done", in_position(best_epoch=3)),
    Hostile("a best epoch without a value", in_position(best=None, best_epoch=0)),
    Hostile("a best value without an epoch", in_position(best_epoch=-1)),
    Hostile("more waited than done", in_position(waited=4)),
    Hostile("batches without rows", in_position(position=1, rows=0)),
    Hostile("rows without batches", in_position(position=0, rows=1)),
    Hostile("fewer rows than batches", in_position(position=3, rows=2)),
    Hostile("more batches than steps", in_position(position=10, rows=20, step=9)),
    Hostile("more rows than samples", in_position(position=1, rows=21)),
    Hostile("a column longer than the run", _history(loss=4)),
    Hostile("a column of 2^53 epochs", _history(loss=2**53)),
    Hostile("a column of 2^62 epochs", _history(loss=2**62)),
    Hostile("a column shorter than its tensor", _history(loss=2)),
    Hostile("a column that is not named", _history(loss=...)),
    Hostile("a column without a tensor", _history(extra=3)),
    Hostile("a column as a list", _history(loss=[float_bits(0.0)] * 3)),
    Hostile("a column that is a bool", _history(loss=True)),
    Hostile("a column of floats of 32 bits", _column("loss", np.zeros(3, "<f4"))),
    Hostile("a column of two axes", _column("loss", np.zeros((3, 1)))),
    Hostile("a column of nobody", _column("nobody", np.zeros(3))),
    Hostile("a column that another program has", _with_column_of_nobody, (LOAD,)),
)  # fmt: skip

FIRST_FORMAT = (
    Hostile("format 1", _first_format, BOTH),
    Hostile("format 1 with lengths", in_position(format=1)),
    Hostile("format 1 with tensors of a history", lambda c: _column("loss", np.zeros(3))(
        _first_format(c))),
    Hostile("format 2 with lists", lambda c: in_position(format=2)(_first_format(c))),
    Hostile("format 1 with a short number", lambda c: in_position(
        history={"loss": ["0"] * 3})(_first_format(c))),
    Hostile("format 1 with a column longer than the run", lambda c: in_position(
        history={"loss": [float_bits(0.0)] * 4})(_first_format(c))),
)  # fmt: skip

HOSTILE = (*LEGAL, *STRUCTURE, *POSITION, *FIRST_FORMAT)
