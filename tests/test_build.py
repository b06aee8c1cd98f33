"""Building: kinds of binaries, what they export, CPUs and platforms, and every refusal."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import gradc, told
from support_binary import files
from support_build import small_program, wide_program

import gradc as gc
from gradc import optim
from gradc.compiler.aot.model import identifiers, model_name
from gradc.compiler.aot.tables import quoted

ROOT = Path(__file__).resolve().parent.parent
SENSOR = ROOT / "examples" / "aot"
FUNCTIONS = (
    "describe", "error", "evaluate", "free", "init", "load", "predict", "save",
    "set_learning_rate", "step",
)  # fmt: skip
ON_X86 = platform.machine() in ("x86_64", "AMD64")
needs_zig = pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None, reason="the ziglang package is not installed"
)


def small_data(rows: int = 20) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 3)).astype(np.float32)
    return {"x": x, "y": x @ np.array([1, -2, 0.5], np.float32)}


def run(command: Sequence[object], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True, text=True, timeout=300, check=False, **options,
    )  # fmt: skip


def emulator(architecture: str) -> str:
    """qemu's user mode for an architecture; skips the test where there is none."""
    for name in (f"qemu-{architecture}-static", f"qemu-{architecture}"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip(f"no user-mode qemu for {architecture}")


# ---------------------------------------------------------------- executables


def test_an_executable_says_what_it_is(tmp_path: Path) -> None:
    program = small_program()
    made = program.build(tmp_path / "regress", batch=8)
    assert made == [tmp_path / "regress"]
    facts = json.loads(run([made[0], "--describe"]).stdout)
    assert facts["name"] == "regress"
    assert facts["batch"] == 8
    assert facts["learning_rate"] == 0.1
    assert {field["name"]: field["shape"] for field in facts["inputs"]} == {
        "x": ["batch", 3],
        "y": ["batch"],
    }
    assert facts["parameters"] == {"w": ["float32", 3]}
    assert facts["fingerprint"] == program.compile().artifact.fingerprint


def test_the_command_line_builds(tmp_path: Path) -> None:
    done = gradc("build", str(SENSOR / "sensor.py"), "-o", str(tmp_path / "sensor"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\S+/sensor  [\d,]+ bytes\n", done.stdout)
    assert run([tmp_path / "sensor", "--help"]).returncode == 0


def test_a_build_depends_on_nothing_but_the_c_library(tmp_path: Path) -> None:
    made = small_program().build(tmp_path / "regress", batch=8)[0]
    needed = re.findall(r"NEEDED.*\[(.*)\]", run(["readelf", "-d", made]).stdout)
    assert needed == ["libc.so.6"]


def test_large_constants_are_part_of_the_binary(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((3, 20_000)).astype(np.float32)
    x = gc.input("x", ("batch", 3))
    w = gc.parameter("w", (20_000,), init=gc.init.zeros)
    loss = gc.mean((x @ gc.constant(table) - w) ** 2)
    program = gc.training(loss, optim.SGD(lr=10.0))
    data = {"x": small_data()["x"]}
    trainer = program.compile(seed=0)
    trainer.fit(data, batch_size=8, epochs=2, checkpoint=tmp_path / "jit")
    made = program.build(tmp_path / "constants", batch=8)[0]
    done = run([made, *files(tmp_path, data), "--epochs=2", f"--checkpoint={tmp_path / 'aot'}"])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "jit").read_bytes() == (tmp_path / "aot").read_bytes()


def test_names_that_are_hard_to_write_in_c(tmp_path: Path) -> None:
    x = gc.input("größe.1", ("batch", 2))
    w = gc.parameter("w", (2,), init=gc.init.ones)
    z = gc.sum(x * w, axis=1)
    metrics = {'"?? */ \\n\n': gc.mean(z), "ø": gc.mean(z)}
    program = gc.training(gc.mean(z**2), optim.SGD(lr=0.1), metrics=metrics, outputs={"int": z})
    data = {"größe.1": np.ones((5, 2), np.float32)}
    trainer = program.compile(seed=0)
    trainer.fit(data, batch_size=4, epochs=2, checkpoint=tmp_path / "jit")
    made = program.build(tmp_path / "9 lives-ü", batch=4)[0]
    done = run([made, *files(tmp_path, data), "--epochs=2", f"--checkpoint={tmp_path / 'aot'}"])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "jit").read_bytes() == (tmp_path / "aot").read_bytes()
    _, header = program.build(tmp_path / "lib9 lives-ü.so", kind="library", batch=4)
    compile_c(tmp_path, f'#include "{header.name}"\nint main(void) {{ return 0; }}\n')


def test_words_of_c() -> None:
    assert identifiers(("a b", "a.b", "int", "1st", "ü", "rows", "session")) == (
        "a_b", "a_b_", "int_", "_1st", "value", "rows_", "session_",
    )  # fmt: skip
    assert model_name("train-cifar2.bin") == "train_cifar2_bin"
    assert model_name("2nd") == "model_2nd"
    assert quoted('a"\\?\n\x01ü') == '"a\\"\\\\\\?\\n\\001\\303\\274"'


# ---------------------------------------------------------------- libraries


def compile_c(folder: Path, text: str, *arguments: object, compiler: str = "cc") -> Path:
    """A C (or, by c++, C++) program that compiles without a warning."""
    source = folder / ("program.cc" if compiler == "c++" else "program.c")
    source.write_text(text)
    standard = "-std=c++17" if compiler == "c++" else "-std=c11"
    made = folder / "program"
    done = run(
        [compiler, standard, "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{folder}", source,
         "-o", made, *arguments]
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return made


def test_a_library_exports_its_functions_and_nothing_else(tmp_path: Path) -> None:
    library, header = small_program().build(tmp_path / "libregress.so", kind="library", batch=8)
    assert header == tmp_path / "regress.h"
    symbols = run(["nm", "-D", "--defined-only", library]).stdout.split()[2::3]
    assert sorted(symbols) == [f"gradc_regress_{name}" for name in FUNCTIONS]


class Library:
    """A regression library through ctypes, as any program would use it."""

    def __init__(self, path: Path, seed: int = 0, threads: int = 1) -> None:
        self.functions = ctypes.CDLL(str(path))
        self.functions.gradc_regress_error.restype = ctypes.c_char_p
        self.session = ctypes.c_void_p()
        assert self.call("init", ctypes.byref(self.session), seed, threads, bare=True) == 0

    def call(self, name: str, *arguments: Any, bare: bool = False) -> int:
        passed = [
            argument.ctypes.data_as(ctypes.c_void_p) if isinstance(argument, np.ndarray)
            else ctypes.c_int64(argument) if isinstance(argument, int)
            else argument
            for argument in arguments
        ]  # fmt: skip
        own = [] if bare else [self.session]
        return int(getattr(self.functions, f"gradc_regress_{name}")(*own, *passed))

    def error(self) -> str:
        return str(self.functions.gradc_regress_error(self.session).decode())


def test_a_library_computes_what_a_trainer_does(tmp_path: Path) -> None:
    program = small_program(inner=True)
    path = program.build(tmp_path / "libregress.so", kind="library", batch=8)[0]
    library, trainer = Library(path, seed=5), program.compile(seed=5)
    data, result = small_data(), np.zeros(1)
    for rows in (8, 8, 3):
        x, y = data["x"][:rows].copy(), data["y"][:rows].copy()
        assert library.call("step", rows, x, y, result) == 0
        assert trainer.step(x=x, y=y) == {"loss": result[0]}
    assert library.call("evaluate", 20, data["x"], data["y"], result) == 0
    assert trainer.evaluate(data) == {"loss": result[0]}
    z, turned = np.full(9, 7, np.float32), np.full((3, 8), 7, np.float32)
    assert library.call("predict", 8, data["x"], z, turned) == 0
    predicted = trainer.predict(x=data["x"][:8])
    np.testing.assert_array_equal(z[:8], predicted["z"])
    assert z[8] == 7  # nothing is written past the rows asked for
    np.testing.assert_array_equal(turned, predicted["turned"])
    ours, theirs = tmp_path / "library", tmp_path / "trainer"
    assert library.call("save", str(ours).encode()) == 0
    trainer.save(theirs)
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_library_goes_on_from_what_it_saved(tmp_path: Path) -> None:
    path = small_program().build(tmp_path / "libregress.so", kind="library", batch=8)[0]
    first, second = Library(path), Library(path)
    data, result = small_data(8), np.zeros(2)
    kept = str(tmp_path / "kept").encode()
    assert first.call("step", 8, data["x"], data["y"], result) == 0
    assert first.call("save", kept) == 0
    assert second.call("load", kept) == 0
    assert first.call("step", 8, data["x"], data["y"], result[:1]) == 0
    assert second.call("step", 8, data["x"], data["y"], result[1:]) == 0
    assert result[0] == result[1]
    trainer = small_program().compile()
    trainer.fit(data, batch_size=4, epochs=3, checkpoint=tmp_path / "fit")
    assert second.call("load", str(tmp_path / "fit").encode()) == 0
    assert second.call("save", kept) == 0
    assert Path(kept.decode()).read_bytes() == (tmp_path / "fit").read_bytes()


def test_a_library_refuses_and_says_why(tmp_path: Path) -> None:
    path = small_program().build(tmp_path / "libregress.so", kind="library", batch=8)[0]
    library, data, result = Library(path), small_data(8), np.zeros(1)
    assert library.error() == ""
    assert library.call("step", 9, data["x"], data["y"], result) == 2
    assert library.error() == "rows is 9, out of 1 to 8"
    assert library.call("step", 0, data["x"], data["y"], result) == 2
    assert library.call("step", 8, None, data["y"], result) == 2
    assert library.error() == "input x is null"
    assert library.call("load", str(tmp_path / "none").encode()) == 1
    assert library.error() == f"{tmp_path}/none: cannot be read: No such file or directory"
    assert library.call("save", str(tmp_path / "none" / "file").encode()) == 1
    assert library.error() == f"{tmp_path}/none/file: cannot be written: No such file or directory"
    assert library.call("set_learning_rate", ctypes.c_double(float("nan"))) == 2
    assert library.error() == "a learning rate is a finite number >= 0"
    assert library.call("set_learning_rate", ctypes.c_double(0.0)) == 0
    assert library.call("step", 8, data["x"], data["y"], result) == 0
    before = result.copy()
    assert library.call("step", 8, data["x"], data["y"], result) == 0
    assert before == result


def test_the_header_tells_the_room_that_an_output_takes(tmp_path: Path) -> None:
    program = small_program(inner=True)
    header = program.build(tmp_path / "libregress.so", kind="library", batch=8)[1].read_text()
    assert " *   z  float[rows]\n" in header
    assert (
        " *   turned  float[3, GRADC_REGRESS_BATCH]; "
        "at most GRADC_REGRESS_BATCH rows in one call, the rest arbitrary\n"
    ) in header


def test_an_output_with_the_batch_twice_is_refused(tmp_path: Path) -> None:
    x = gc.input("x", ("batch", 3))
    w = gc.parameter("w", (3,), init=gc.init.ones)
    gram = x @ gc.permute_dims(x, (1, 0))
    program = gc.training(gc.mean(x @ w), optim.SGD(lr=0.1), outputs={"gram": gram})
    with pytest.raises(gc.ShapeError, match="has the batch dimension 'batch' more than once"):
        program.build(tmp_path / "gram", batch=8)
    with pytest.raises(gc.ShapeError, match="has the batch dimension 'batch' more than once"):
        program.compile().predict(x=np.ones((3, 3), np.float32))


def test_the_header_serves_c_and_cpp(tmp_path: Path) -> None:
    _, header = small_program().build(tmp_path / "libregress.so", kind="library", batch=8)
    text = f'#include "{header.name}"\nint main(void) {{ return GRADC_REGRESS_BATCH - 8; }}\n'
    for compiler in filter(shutil.which, ("cc", "c++")):
        assert run([compile_c(tmp_path, text, compiler=compiler)]).returncode == 0


def test_two_object_files_link_into_one_program(tmp_path: Path) -> None:
    for name in ("one", "two"):
        made = small_program(name).build(tmp_path / f"{name}.o", kind="object", batch=4)
        assert made == [tmp_path / f"{name}.o", tmp_path / f"{name}.h"]
    text = """
#include "one.h"
#include "two.h"
int main(void) {
    gradc_one *one;
    gradc_two *two;
    const float x[3] = {1, 2, 3}, y = 1;
    double first, second;
    int bad = gradc_one_init(&one, 0, 1) | gradc_two_init(&two, 0, 2);
    bad |= gradc_one_step(one, 1, x, &y, &first) | gradc_two_step(two, 1, x, &y, &second);
    gradc_one_free(one);
    gradc_two_free(two);
    return bad || first != 1 || second != 1;
}
"""
    objects = [tmp_path / "one.o", tmp_path / "two.o"]
    assert run([compile_c(tmp_path, text, *objects, "-pthread")]).returncode == 0


def test_the_example_drives_its_library(tmp_path: Path) -> None:
    done = gradc(
        "build", str(SENSOR / "sensor.py"), "--kind", "library", "--batch", "1",
        "-o", "libsensor.so", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loop = tmp_path / "sensor_loop"
    made = run(
        ["cc", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{tmp_path}", SENSOR / "sensor_loop.c",
         f"-L{tmp_path}", "-lsensor", "-lm", f"-Wl,-rpath,{tmp_path}", "-o", loop]
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    first = run([loop, tmp_path / "kept"]).stdout
    errors = [float(e) for e in re.findall(r"error ([\d.]+)", first)]
    assert errors[4] < errors[0] / 5  # it learned
    assert errors[5] > 2 * errors[4] and errors[9] < errors[5] / 3  # and followed the change
    assert run([loop, tmp_path / "kept"]).stdout.startswith("going on from")


# ---------------------------------------------------------------- CPUs and platforms


def trained(command: Sequence[object], folder: Path, name: str) -> bytes:
    """The checkpoint that a binary of the digits-like program writes."""
    done = run([*command, *files(folder, wide_data()), "--epochs=2", "--quiet",
                f"--checkpoint={folder / name}"])  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (folder / name).read_bytes()


def wide_data() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((50, 21)).astype(np.float32)
    return {"x": x, "labels": np.abs(x[:, :5]).argmax(axis=1).astype(np.int32)}


def expected(folder: Path) -> bytes:
    trainer = wide_program().compile(seed=0)
    trainer.fit(wide_data(), batch_size=16, epochs=2, checkpoint=folder / "expected")
    return (folder / "expected").read_bytes()


@pytest.mark.skipif(not ON_X86, reason="code for x86-64")
@pytest.mark.parametrize("cpu", ["native", "x86-64-v3", "portable"])
def test_every_cpu_option_gives_the_same_bits(cpu: str, tmp_path: Path) -> None:
    made = wide_program().build(tmp_path / "wide", batch=16, cpu=cpu)[0]
    assert trained([made], tmp_path, "kept") == expected(tmp_path)
    cpus = json.loads(run([made, "--describe"]).stdout)["cpu"]
    assert cpus == (["x86-64-v4", "x86-64-v3"] if cpu == "portable" else [cpu])


@pytest.mark.skipif(not ON_X86, reason="code for x86-64")
def test_an_emulated_cpu_takes_the_version_that_it_can_run(tmp_path: Path) -> None:
    qemu = emulator("x86_64")
    made = wide_program().build(tmp_path / "wide", batch=16, cpu="portable")[0]
    assert trained([qemu, "-cpu", "Haswell", made], tmp_path, "kept") == expected(tmp_path)
    old = run([qemu, "-cpu", "Nehalem", made, *files(tmp_path, wide_data())])
    assert old.returncode == 1
    assert old.stderr == (
        "wide: this CPU has no AVX2 with FMA; "
        "the program was built for x86-64-v3 and needs x86-64-v3\n"
    )


@needs_zig
@pytest.mark.skipif(not ON_X86, reason="runs x86-64 binaries")
def test_a_static_binary_gives_the_same_bits(tmp_path: Path) -> None:
    platform_name = "x86_64-linux-musl"
    made = wide_program().build(tmp_path / "wide", batch=16, platform=platform_name)[0]
    assert "NEEDED" not in run(["readelf", "-d", made]).stdout
    assert trained([made], tmp_path, "kept") == expected(tmp_path)


@needs_zig
def test_an_aarch64_binary_gives_the_same_bits(tmp_path: Path) -> None:
    qemu = emulator("aarch64")
    made = wide_program().build(tmp_path / "wide", batch=16, platform="aarch64-linux-musl")[0]
    assert trained([qemu, made], tmp_path, "kept") == expected(tmp_path)
    assert trained([qemu, made, "--threads=1"], tmp_path, "one") == expected(tmp_path)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "wasm"}, "unknown kind 'wasm'"),
        ({"cpu": "i386"}, "unknown cpu 'i386'"),
        ({"platform": "amiga"}, "unknown platform 'amiga'"),
        ({"batch": 0}, "batch is an integer of at least 1, not 0"),
        ({"dims": {"time": 3}}, "unknown dimension 'time'"),
        ({"target": "tpu"}, "unknown target 'tpu'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(gc.ArgumentError, match=message):
        small_program().build(tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())


def test_other_dimensions_are_given_by_name(tmp_path: Path) -> None:
    x = gc.input("x", ("batch", "time"))
    w = gc.parameter("w", (), init=gc.init.ones)
    program = gc.training(gc.mean((x * w) ** 2), optim.SGD(lr=0.1))
    with pytest.raises(gc.ArgumentError, match="input 'x' has the open dimension 'time'") as caught:
        program.build(tmp_path / "out", batch=4)
    assert "hint: give it: --dim time=N, or dims={'time': N}" in str(caught.value)
    made = program.build(tmp_path / "out", batch=4, dims={"time": 6})[0]
    facts = json.loads(run([made, "--describe"]).stdout)
    assert facts["inputs"][0]["shape"] == ["batch", 6]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(gc.FileError, match="cannot be written: No such file or directory"):
        small_program().build(tmp_path / "none" / "out")
    with pytest.raises(gc.FileError, match="is a directory"):
        small_program().build(tmp_path)


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\necho 'the disk of the compiler is full' >&2\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    out = tmp_path / "out"
    out.write_text("what was there")
    with pytest.raises(gc.CompileError) as caught:
        small_program().build(out)
    assert "build: broken-cc failed with status 7" in str(caught.value)
    assert "the disk of the compiler is full" in str(caught.value)
    assert out.read_text() == "what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken-cc", "out"]


def test_the_compiler_that_cc_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for named, problem in (
        ("no-such-cc -O1", "CC names 'no-such-cc', which is not there"),
        ("cc '", 'CC is "cc \'": No closing quotation'),
    ):
        monkeypatch.setenv("CC", named)
        with pytest.raises(gc.CompileError, match=re.escape(problem)):
            small_program().build(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    wrapper = tmp_path / "wrapper"
    wrapper.write_text('#!/bin/sh\necho >> "$0.calls"\nexec cc "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("CC", "./wrapper")
    small_program().build(tmp_path / "out")
    assert (tmp_path / "wrapper.calls").exists()


def test_folders_with_odd_names(tmp_path: Path) -> None:
    large = gc.constant(np.arange(3000, dtype=np.float32))
    w = gc.parameter("w", (3000,))
    program = gc.training(gc.mean((w - large) ** 2), optim.SGD(lr=0.1))
    for name in ("with, comma", 'a "quote"', "back\\slash"):
        (tmp_path / name).mkdir()
        made = program.build(tmp_path / name / "model.so", kind="library")
        assert [path.name for path in made] == ["model.so", "model.h"]


def test_inputs_with_names_of_the_runtime(tmp_path: Path) -> None:
    names = ("inputs", "outputs", "class", "bool", "int64_t", "errno", "_inputs", "input_0")
    w, summed = gc.parameter("w", ()), sum(gc.input(name, ("batch",)) for name in names)
    program = gc.training(gc.mean(summed * w), optim.SGD(lr=0.1), outputs={"outputs": summed})
    _, header = program.build(tmp_path / "names.so", kind="library", batch=4)
    text = f'#include "{header.name}"\nint main(void) {{ return 0; }}\n'
    for compiler in filter(shutil.which, ("cc", "c++")):
        compile_c(tmp_path, text, compiler=compiler)


def test_no_compiler_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(gc.CompileError) as caught:
        small_program().build(tmp_path / "out")
    assert told(caught.value).split("\n") == [
        "build", "no C compiler was found", "install gcc or clang, set CC, or pip install ziglang",
    ]  # fmt: skip
    assert "test_build.py" in str(caught.value)


def test_the_command_line_tells_mistakes_apart(tmp_path: Path) -> None:
    sensor, out = str(SENSOR / "sensor.py"), str(tmp_path / "out")
    copy = tmp_path / "model.py"
    copy.write_bytes((SENSOR / "sensor.py").read_bytes())
    said = gradc("build", "model.py", "-o", str(copy), cwd=tmp_path)
    assert said.returncode == 2 and "would replace FILE itself" in said.stderr
    assert gradc("build", sensor, cwd=tmp_path).returncode == 2
    for arguments, message in (
        (["--kind", "wasm"], "'wasm' is not one of 'executable', 'library', 'object'"),
        (["--dim", "time"], "--dim takes NAME=N, not 'time'"),
        (["--dim", "time=3"], "unknown dimension 'time'"),
    ):
        done = gradc("build", sensor, "-o", out, *arguments, cwd=tmp_path)
        assert done.returncode == 2 and message in done.stderr, done.stderr
        assert "Traceback" not in done.stderr and " at " not in done.stderr
    done = gradc("build", sensor, "-o", str(tmp_path / "none" / "out"), cwd=tmp_path)
    assert done.returncode == 1 and "cannot be written" in done.stderr
    assert not os.path.exists(out)
