"""Augmented pictures against NumPy: what may change, by how much, and what decides it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import augment, nn, optim

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(37)
X = RNG.uniform(0.5, 1.5, (40, 3, 8, 10)).astype(np.float32)

MODULES = {name: getattr(augment, name) for name in augment.__all__}


def trained(module: nn.Module, x: Array = X, seed: int = 0, steps: int = 1) -> Array:
    """What training makes of the pictures, in the last of some steps."""
    images = gc.input("images", ("batch", *x.shape[1:]))
    f = gc.compile(module(images), training=True, seed=seed)
    for _ in range(steps):
        y: Array = f(images=x)
    return y


def evaluated(module: nn.Module, x: Array = X) -> Array:
    images = gc.input("images", ("batch", *x.shape[1:]))
    y: Array = gc.compile(module(images))(images=x)
    return y


@pytest.mark.parametrize("name", augment.__all__)
def test_every_module_with_its_defaults(name: str) -> None:
    """Evaluation is the identity to the last bit; training changes most pictures, differently for
    each of two steps and two seeds, and the same for the same."""
    module = MODULES[name]()
    np.testing.assert_array_equal(evaluated(module), X)
    first = trained(module)
    assert first.shape == X.shape and np.isfinite(first).all()
    changed = [not np.array_equal(a, b) for a, b in zip(first, X, strict=True)]
    assert sum(changed) > 10
    np.testing.assert_array_equal(first, trained(module))
    assert not np.array_equal(first, trained(module, seed=1))
    assert not np.array_equal(first, trained(module, steps=2))
    assert gc.augment.__name__ == "gradc.augment" and repr(module).startswith(name)


@pytest.mark.parametrize("name", sorted(set(augment.__all__) - {"Mixup"}))
def test_every_picture_has_its_own_numbers(name: str) -> None:
    """The same picture forty times is not changed in one way; its place decides, not its batch."""
    same = np.broadcast_to(X[:1], X.shape).astype(np.float32)
    found = trained(MODULES[name](), same)
    kinds = {picture.tobytes() for picture in found}
    assert len(kinds) == 2 if name == "RandomMirror" else len(kinds) > 5


def test_translate_moves_by_whole_pixels() -> None:
    found = trained(augment.RandomTranslate((0.25, 0.5)))
    seen = set()
    for before, after in zip(X, found, strict=True):
        ways = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-5, 6)
            if np.allclose(after, shifted(before, down, right), atol=1e-6)
        ]
        assert len(ways) == 1
        seen.update(ways)
    assert {down for down, _ in seen} == {-2, -1, 0, 1, 2} and len({r for _, r in seen}) > 7


def shifted(x: Array, down: int, right: int) -> Array:
    """Zeros come in."""
    high, wide = x.shape[1:]
    padded = np.pad(x, ((0, 0), (high, high), (wide, wide)))
    return padded[:, high - down : 2 * high - down, wide - right : 2 * wide - right]


def smooth(rows: Array, columns: Array) -> Array:
    """A picture that is linear: read between pixels exactly."""
    return 3.0 + 0.25 * rows - 0.125 * columns


def middle_places(high: int, wide: int) -> tuple[Array, Array]:
    return np.meshgrid(np.arange(high) - (high - 1) / 2, np.arange(wide) - (wide - 1) / 2,
                       indexing="ij")  # fmt: skip


def turned(rows: Array, columns: Array) -> tuple[Array, Array]:
    cosine, sine = np.cos(np.radians(20)), np.sin(np.radians(20))
    return columns * sine + rows * cosine, columns * cosine - rows * sine


def bent(rows: Array, columns: Array) -> tuple[Array, Array]:
    """Of pictures of 10 x 11."""
    factor = 1 - 0.3 * (rows**2 + columns**2) / (4.5**2 + 5**2)
    return rows * factor, columns * factor


MOVES = {
    "rotate": (augment.RandomRotate((20, 20)), turned),
    "scale": (augment.RandomScale((2, 2)), lambda r, c: (r / 2, c / 2)),
    "shear": (augment.RandomShear((15, 15)), lambda r, c: (r, c - r * np.tan(np.radians(15)))),
    "lens": (augment.RandomLensDistortion((-0.3, -0.3)), bent),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_known_move_reads_where_it_says(name: str) -> None:
    """Ranges of one number leave nothing to chance; places inside are those of the formula."""
    module, move = MOVES[name]
    rows, columns = middle_places(10, 11)
    picture = smooth(rows, columns)[None, None].astype(np.float32)
    read = move(rows, columns)
    within = (abs(read[0]) <= 4.5) & (abs(read[1]) <= 5)
    found = trained(module, picture)[0, 0]
    assert within.sum() > 40
    np.testing.assert_allclose(found[within], smooth(*read)[within], atol=1e-4)
    beyond = (abs(read[0]) >= 5.5) | (abs(read[1]) >= 6)
    np.testing.assert_array_equal(found[beyond], 0)


def test_mirrors() -> None:
    found = trained(augment.RandomMirror(1.0))
    np.testing.assert_array_equal(found, X[..., ::-1])
    np.testing.assert_array_equal(trained(augment.RandomMirror(1.0, vertical=True)), X[:, :, ::-1])
    np.testing.assert_array_equal(trained(augment.RandomMirror(0.0)), X)


@pytest.mark.parametrize("size", [None, 6, (5, 9)])
def test_crops_are_pieces_of_the_padded_picture(size: Any) -> None:
    module = augment.RandomCrop(size, padding=2)
    found = trained(module)
    high, wide = size if isinstance(size, tuple) else (size or 8, size or 10)
    assert found.shape == (40, 3, high, wide)
    padded = np.pad(X, ((0, 0), (0, 0), (2, 2), (2, 2)))
    places = set()
    for before, after in zip(padded, found, strict=True):
        ways = [
            (i, j)
            for i in range(12 - high + 1)
            for j in range(14 - wide + 1)
            if np.array_equal(before[:, i : i + high, j : j + wide], after)
        ]
        assert len(ways) == 1
        places.update(ways)
    assert len(places) > 10
    down, right = (12 - high) // 2, (14 - wide) // 2
    middle = padded[:, :, down : down + high, right : right + wide]
    np.testing.assert_array_equal(evaluated(module), middle)


def factors(found: Array, middle: Array) -> Array:
    """Each picture's factor, which is one number for all of its elements."""
    ratio = (found - middle) / np.where(abs(X - middle) < 0.05, np.nan, X - middle)
    each = np.nanmean(ratio, axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(np.nan_to_num(ratio - each), 0, atol=1e-4)
    flat: Array = each[:, 0, 0, 0]
    return flat


def grey() -> Array:
    return np.einsum("nchw,c->nhw", X.astype(np.float64), [0.299, 0.587, 0.114])[:, None]


@pytest.mark.parametrize("dtype", [gc.bfloat16, gc.float16])
def test_wide_pictures_of_16_bits_are_cut_where_they_should_be(dtype: Any) -> None:
    """Places are counted in float32: bfloat16 has no 257."""
    wide = (np.arange(600) % 250).reshape(1, 1, 1, 600).astype(dtype.numpy)
    images = gc.input("images", (1, 1, 1, 600), dtype)
    for module in (augment.RandomCrop((1, 590), padding=0), augment.RandomTranslate((0, 0.02))):
        found = gc.compile(module(images), training=True, seed=5)(images=wide)
        assert found.dtype == dtype.numpy
        inner = found[0, 0, 0, 20:-20].astype(int)
        np.testing.assert_array_equal((np.diff(inner)) % 250, 1)


def test_colours() -> None:
    brightness = factors(trained(augment.RandomBrightness(0.3)), np.zeros_like(X))
    middle = grey().mean((2, 3), keepdims=True)
    contrast = factors(trained(augment.RandomContrast((0.5, 0.9))), middle)
    saturation = factors(trained(augment.RandomSaturation(0.4)), grey())
    for found, low, high in ((brightness, 0.7, 1.3), (contrast, 0.5, 0.9), (saturation, 0.6, 1.4)):
        assert low - 1e-4 <= found.min() < low + 0.2 * (high - low)
        assert high - 0.2 * (high - low) < found.max() <= high + 1e-4
    single = X[:, :1]
    np.testing.assert_allclose(trained(augment.RandomSaturation(), single), single, rtol=1e-6)


def test_noise() -> None:
    noise = trained(augment.RandomNoise(0.25)) - X
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 0.25) < 0.01
    np.testing.assert_array_equal(trained(augment.RandomNoise(0.0)), X)


def test_cutout_is_one_square() -> None:
    found = trained(augment.Cutout(3, fill=7.0))
    sizes = set()
    for before, after in zip(X, found, strict=True):
        covered = (after == 7.0).all(0)
        np.testing.assert_array_equal(after[:, ~covered], before[:, ~covered])
        rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
        assert covered.sum() == len(rows) * len(columns)
        assert len(rows) == np.ptp(rows) + 1 and len(columns) == np.ptp(columns) + 1
        sizes.add((len(rows), len(columns)))
    assert max(sizes) == (3, 3) and min(sizes) < (3, 3)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("alpha", [0.3, 1.0, 3.0])
def test_mixup_mixes_labels_as_pictures(alpha: float, named: bool) -> None:
    labels = (np.arange(40) * 7 % 5).astype(np.int32)
    rows = "batch" if named else 40
    images = gc.input("images", (rows, 3, 8, 10))
    classes = gc.input("labels", (rows,), gc.int32)
    mixed = augment.Mixup(alpha, num_classes=5)(images, classes)
    f = gc.compile(mixed, training=True)
    weights = []
    for _ in range(20):
        pictures, targets = f(images=X, labels=labels)
        one_hot = np.eye(5)[labels]
        weight = np.einsum("nk,nk->n", targets, one_hot)[labels != np.roll(labels, 1)].mean()
        weights.append(weight)
        expected = weight * X + (1 - weight) * np.roll(X, 1, 0)
        np.testing.assert_allclose(pictures, expected, atol=1e-5)
        mean = weight * one_hot + (1 - weight) * np.roll(one_hot, 1, 0)
        np.testing.assert_allclose(targets, mean, atol=1e-5)
    assert np.ptp(weights) > 0.2
    pictures, targets = gc.compile(mixed)(images=X, labels=labels)
    np.testing.assert_array_equal(pictures, X)
    np.testing.assert_array_equal(targets, np.eye(5)[labels])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.5])
def test_weights_have_the_moments_of_beta(alpha: float) -> None:
    """Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1))."""
    x = np.zeros((2, 1, 1, 1), np.float32)
    x[0] = 1.0
    images = gc.input("images", x.shape)
    f = gc.compile(augment.Mixup(alpha)(images), training=True)
    drawn = np.array([f(images=x)[0, 0, 0, 0] for _ in range(4000)])
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(drawn.mean() - 0.5) < 4 * np.sqrt(variance / 4000)
    assert abs(drawn.var() - variance) < 0.06 * variance


def test_gradients_pass_through() -> None:
    """A moved picture's gradient is moved back: linear, so differences are exact."""
    images = gc.input("images", (2, 1, 5, 5), gc.float64)
    y = nn.Sequential(augment.RandomRotate((30, 30)), augment.RandomMirror(1.0))(images)
    weight = RNG.normal(size=(2, 1, 5, 5))
    total = gc.sum(y * gc.constant(weight))
    (slope,) = gc.grad(total, [images])
    f = gc.compile({"y": total, "d": slope}, training=True)
    x = RNG.normal(size=(2, 1, 5, 5))
    found = f(images=x)
    for index in ((0, 0, 2, 2), (1, 0, 1, 3), (0, 0, 0, 4)):
        moved = x.copy()
        moved[index] += 1.0
        np.testing.assert_allclose(f(images=moved)["y"] - found["y"], found["d"][index], atol=1e-9)


def test_a_run_is_the_same_on_two_threads_and_resumed(tmp_path: Path) -> None:
    """In `fit`, where the batches are gathered and the last one is ragged."""
    images, labels = (
        gc.input("images", ("batch", 3, 8, 10)),
        gc.input("labels", ("batch",), gc.int32),
    )
    change = nn.Sequential(
        augment.RandomTranslate(), augment.RandomRotate(), augment.RandomMirror(),
        augment.RandomSaturation(), augment.Cutout(), augment.RandomNoise(),
    )  # fmt: skip
    model = nn.Sequential(nn.Flatten(), nn.Linear(240, 5))
    loss = gc.cross_entropy(model(change(images)), labels)
    program = gc.training(loss, optimizer=optim.SGD(lr=0.1))
    data = {"images": X, "labels": (np.arange(40) % 5).astype(np.int32)}

    def run(threads: int, epochs: list[int], path: Path) -> Array:
        for total in epochs:
            trainer = program.compile(threads=threads, seed=4)
            trainer.fit(data, batch_size=16, epochs=total, checkpoint=str(path), resume=True)
        weight: Array = trainer.parameters["1.weight"]
        return weight

    whole = run(1, [4], tmp_path / "whole.safetensors")
    np.testing.assert_array_equal(whole, run(2, [4], tmp_path / "two.safetensors"))
    np.testing.assert_array_equal(whole, run(1, [1, 4], tmp_path / "resumed.safetensors"))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: augment.RandomRotate("far"), "RandomRotate: degrees is a number or a pair"),
        (lambda: augment.RandomRotate(-3), "RandomRotate: degrees is not negative"),
        (lambda: augment.RandomRotate((5, 1)), r"degrees is \(low, high\)"),
        (lambda: augment.RandomScale((0, 1)), "RandomScale: factors are positive"),
        (lambda: augment.RandomShear(90), "RandomShear: angles lie between"),
        (lambda: augment.RandomTranslate(1.5), "translate is a part from 0 to 1"),
        (lambda: augment.RandomTranslate(0.1, "wrap"), "no padding_mode 'wrap'"),
        (lambda: augment.RandomMirror(2.0), "RandomMirror: a probability"),
        (lambda: augment.RandomCrop(0), "RandomCrop: size is an integer of at least 1"),
        (lambda: augment.RandomNoise(-1.0), "RandomNoise: std is not negative"),
        (lambda: augment.Mixup(0.0), "Mixup: alpha is positive"),
        (lambda: augment.RandomCrop(99)(gc.input("x", (2, 3, 8, 8))), "RandomCrop: no piece"),
        (lambda: augment.RandomMirror()(gc.input("x", (3, 8, 8))), r"RandomMirror: images is f32"),
        (
            lambda: augment.RandomSaturation()(gc.input("x", (2, 4, 8, 8))),
            "RandomSaturation: images is .* colours are three channels",
        ),
        (
            lambda: augment.Mixup()(gc.input("x", (2, 3, 8, 8)), gc.input("y", (2,), gc.int32)),
            "Mixup: integer labels need num_classes=",
        ),
    ],
)
def test_refusals(make: Any, problem: str) -> None:
    with pytest.raises((gc.ArgumentError, gc.ShapeError), match=problem) as caught:
        make()
    assert "test_augment.py" in str(caught.value)
