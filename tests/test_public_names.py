"""A public function or class is listed once: in the `__all__` of the module that defines it."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import pytest

import gradc as gc
from gradc import functional, nn, optim


def modules_of(package: ModuleType) -> list[ModuleType]:
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


def inner_modules(package: ModuleType) -> set[ModuleType]:
    """Those that are names of the package themselves, as `optim.schedule`."""
    public = [getattr(package, name) for name in package.__all__]
    return {found for found in public if isinstance(found, ModuleType)}


@pytest.mark.parametrize("package", [functional, nn, optim], ids=lambda p: p.__name__)
def test_a_namespace_is_the_sum_of_its_modules(package: ModuleType) -> None:
    inner = inner_modules(package)
    listed = [n for m in modules_of(package) if m not in inner for n in getattr(m, "__all__", ())]
    assert len(listed) == len(set(listed)), "a name that two modules list"
    own = {m.__name__.rpartition(".")[2] for m in inner}
    assert set(listed) | own == set(package.__all__)


def test_functions_are_names_of_gc() -> None:
    assert set(functional.__all__) <= set(gc.__all__)
    assert all(getattr(gc, name) is getattr(functional, name) for name in functional.__all__)
    families = [
        functional.activation,
        functional.attention,
        functional.convolution,
        functional.ctc,
        functional.distances,
        functional.embeddings,
        functional.images,
        functional.losses,
        functional.margins,
        functional.neural,
        functional.normalization,
        functional.pooling,
        functional.sampling,
        functional.thresholds,
        functional.unpooling,
    ]
    assert set(nn.functional.__all__) == {name for own in families for name in own.__all__}


@pytest.mark.parametrize("package", [functional, nn, optim], ids=lambda p: p.__name__)
def test_a_module_lists_what_it_defines(package: ModuleType) -> None:
    for module in modules_of(package):
        others = module in inner_modules(package) or module.__name__.endswith(".other_names")
        for name in () if others else getattr(module, "__all__", ()):
            found = vars(module)[name]
            assert getattr(found, "__module__", module.__name__) == module.__name__, name


def test_another_name_is_the_same_function() -> None:
    for name in functional.other_names.__all__:
        found = getattr(gc, name)
        assert found.__name__ != name and found is getattr(gc, found.__name__)


def test_methods_are_functions() -> None:
    for name in functional.methods.METHODS:
        assert vars(gc.Tensor)[name] is getattr(gc, name), name
