"""The architecture as tests: who may import whom, how large things are, what a wheel holds."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTEST_PLUGIN = "pytest_gradc.py"
PACKAGES = {"frontend": "gradc", "compiler": "gradc.compiler", "runtime": "gradc.runtime"}

FILE_LINES_MAXIMUM = 600
FUNCTION_LINES_MAXIMUM = 60

# What the runtime shares with the compiler.
CONTRACT = (
    "gradc.compiler.artifact",
    "gradc.compiler.attributes",
    "gradc.compiler.errors",
    "gradc.compiler.launch_parts",
    "gradc.compiler.launches",
)

# What each folder may import of gradc, beside its own modules.
ALLOWED = {
    "frontend": ("gradc.compiler", "gradc.runtime"),
    "compiler": (),
    "runtime": CONTRACT,
}

# The only modules with imports inside functions, and what they import there: the driver and the
# wrappers of something that is optional or slow to load.
LATE_IMPORTS = {
    "gradc._training": ("gradc.compiler.aot.build",),
    "gradc.compiler.cpu_llvm.backend": ("gradc.compiler.cpu_llvm.entry",),
    "gradc.compiler.triton.backend": ("gradc.compiler.triton",),
    "gradc.compiler.triton.cubin": ("triton",),
    "gradc.cli": ("*",),
    "gradc.data.images": ("PIL",),
    "gradc.data.remote": ("pooch",),
    "gradc.functional.einstein": ("opt_einsum",),
    "gradc.runtime.history": ("matplotlib",),
    "gradc.runtime.plain_array": ("gradc.runtime.cuda.dlpack",),
    "gradc._sweep_table": ("matplotlib", "rich"),
    "gradc.runtime.progress": ("rich",),
}

# What `import gradc` must not load.
HEAVY = ("llvmlite", "opt_einsum", "triton", "torch", "jax", "rich", "matplotlib", "click", "scipy")
HEAVY += ("PIL", "pooch", "requests")

DATA_SUFFIXES = (".c", ".h", ".typed")


@cache
def _modules() -> dict[str, Path]:
    """Every module of the tree by its imported name."""
    found = {}
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def _is_package(name: str) -> bool:
    return _modules()[name].name == "__init__.py"


def _imports(name: str, nodes: Iterator[ast.AST]) -> Iterator[tuple[str, int]]:
    """The absolute names that import statements mean: `from a import b` gives a.b if that is a
    module, else a."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                kept = len(parts) - node.level + _is_package(name)
                base = ".".join([*parts[:kept], *([base] if base else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield (full if full in _modules() else base), node.lineno


def _top_level(tree: ast.Module) -> Iterator[ast.AST]:
    """Statements that run at import; `if TYPE_CHECKING:` does not."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def _inside(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def test_arrows_run_one_way() -> None:
    wrong = []
    for name, path in _modules().items():
        folder = path.relative_to(ROOT).parts[0]
        for imported, line in _imports(name, ast.walk(_tree(path))):
            owner = _folder_of(imported)
            if owner not in (None, folder) and not _inside(imported, ALLOWED[folder]):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {imported}")
    assert not wrong, "\n".join(wrong)


def _folder_of(module: str) -> str | None:
    """The folder that holds a module of gradc; None for other packages."""
    for folder in ("compiler", "runtime"):
        if _inside(module, (PACKAGES[folder],)):
            return folder
    return "frontend" if _inside(module, ("gradc",)) else None


def test_the_contract_needs_the_standard_library_alone() -> None:
    for name in CONTRACT:
        for imported, line in _imports(name, ast.walk(_tree(_modules()[name]))):
            known = imported.partition(".")[0] in sys.stdlib_module_names or imported in CONTRACT
            assert known, f"{name}:{line} imports {imported}"


def test_no_absolute_imports_of_the_folders() -> None:
    """`import compiler` would load every module a second time, under another name."""
    paths = [*_modules().values(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "examples").glob("*")]
    for path in paths:
        if path.suffix != ".py":
            continue
        for node in ast.walk(_tree(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert not any(_inside(name, tuple(PACKAGES)) for name in names), path


def test_no_import_cycles() -> None:
    graph = nx.DiGraph()
    for name, path in _modules().items():
        for imported, _ in _imports(name, _top_level(_tree(path))):
            # a package's __init__ collects its modules, which may name their package's siblings
            if imported in _modules() and not _inside(name, (imported,)):
                graph.add_edge(name, imported)
    cycles = [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]
    assert not cycles, f"import cycles: {cycles}"


def test_late_imports_are_listed() -> None:
    wrong = []
    for name, path in _modules().items():
        at_top = {id(node) for node in _top_level(_tree(path))}
        late = (node for node in ast.walk(_tree(path)) if id(node) not in at_top)
        for imported, line in _imports(name, _not_for_types(path, late)):
            allowed = LATE_IMPORTS.get(name, ())
            if "*" not in allowed and not _inside(imported, allowed):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {imported}")
    assert not wrong, "late imports:\n" + "\n".join(wrong)


def _not_for_types(path: Path, nodes: Iterator[ast.AST]) -> Iterator[ast.AST]:
    guarded = {
        id(inner)
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    return (node for node in nodes if id(node) not in guarded)


def test_files_are_small() -> None:
    paths = [
        p for f in (*PACKAGES, "tests", "examples", "benchmarks") for p in (ROOT / f).rglob("*")
    ]
    wrong = []
    for path in paths:
        if path.suffix in (".py", ".c", ".h") and path.is_file():
            lines = len(path.read_text().splitlines())
            if lines > FILE_LINES_MAXIMUM:
                wrong.append(f"{path.relative_to(ROOT)} has {lines} lines")
    assert not wrong, "\n".join(wrong)


def test_functions_are_small() -> None:
    wrong = []
    for path in _modules().values():
        for node in ast.walk(_tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAXIMUM:
                    place = f"{path.relative_to(ROOT)}:{node.lineno}"
                    wrong.append(f"{place} {node.name} has {lines} lines")
    assert not wrong, "\n".join(wrong)


def test_no_mutable_module_state() -> None:
    """A dict, list or set that is assigned at module level has an upper-case name: a constant."""
    mutable = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)
    wrong = []
    for path in _modules().values():
        for node in _tree(path).body:
            if not isinstance(node, (ast.Assign, ast.AnnAssign)):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            value = node.value
            is_mutable = isinstance(value, mutable) or (
                isinstance(value, ast.Call)
                and isinstance(value.func, ast.Name)
                and value.func.id in ("dict", "list", "set", "defaultdict", "Counter", "deque")
            )
            for target in targets:
                plain = isinstance(target, ast.Name) and not target.id.startswith("__")
                if is_mutable and plain and not target.id.isupper():  # type: ignore[union-attr]
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(target)}")
    assert not wrong, "\n".join(wrong)


def test_nobody_writes_globals() -> None:
    for path in _modules().values():
        for node in ast.walk(_tree(path)):
            assert not isinstance(node, ast.Global), f"{path}:{node.lineno} uses `global`"


def test_no_promises_of_work() -> None:
    wrong = []
    for folder in (*PACKAGES, "examples", "benchmarks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".c", ".h"):
                for number, line in enumerate(path.read_text().splitlines(), 1):
                    if any(word in line for word in ("TODO", "FIXME", "XXX")):
                        wrong.append(f"{path.relative_to(ROOT)}:{number}")
    assert not wrong, "\n".join(wrong)


def _loaded_by(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/"
    )
    return set(done.stdout.split())


def test_import_gradc_is_light() -> None:
    loaded = {name.partition(".")[0] for name in _loaded_by("import gradc")}
    assert loaded.isdisjoint(HEAVY), sorted(loaded.intersection(HEAVY))


def test_the_runtime_loads_no_pass() -> None:
    """With an empty package above it, for `import gradc` itself brings the frontend along."""
    alone = "import sys, types; sys.modules['gradc'] = types.ModuleType('gradc'); "
    alone += f"sys.modules['gradc'].__path__ = [{str(ROOT / 'frontend')!r}]; "
    loaded = _loaded_by(alone + "import gradc.runtime.trainer")
    assert "gradc.runtime.trainer" in loaded
    assert not [name for name in loaded if _inside(name, ("gradc.compiler.passes", "llvmlite"))]


def test_folders_are_never_modules() -> None:
    loaded = set(sys.modules) | _loaded_by("import gradc, gradc.compiler, gradc.runtime")
    wrong = [name for name in loaded if _inside(name, tuple(PACKAGES))]
    assert not wrong, wrong


def test_packages_are_listed() -> None:
    """pyproject.toml lists exactly the folders that hold modules."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    held = {n if _is_package(n) else n.rpartition(".")[0] for n in _modules()}
    assert sorted(listed) == sorted(held)


def test_every_package_has_an_init() -> None:
    for name in _modules():
        package = name if _is_package(name) else name.rpartition(".")[0]
        assert package in _modules(), f"{package} has no __init__.py"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree, so that the tree stays as it is."""
    pytest.importorskip("setuptools", minversion="77")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", PYTEST_PLUGIN):
        if (ROOT / name).exists():
            (source / name).write_bytes((ROOT / name).read_bytes())
    for folder in PACKAGES:
        for path in _installed_files(folder):
            copy = source / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run(
        [*build, "--wheel-dir", str(target), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return next(target.glob("*.whl"))


def _installed_files(folder: str) -> list[Path]:
    return [
        path
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and (path.suffix in (".py", *DATA_SUFFIXES) or path.name == "py.typed")
    ]


def test_a_wheel_holds_the_tree(wheel: Path) -> None:
    expected = {PYTEST_PLUGIN}
    for folder, package in PACKAGES.items():
        for path in _installed_files(folder):
            relative = path.relative_to(ROOT / folder)
            expected.add("/".join((*package.split("."), *relative.parts)))
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected
