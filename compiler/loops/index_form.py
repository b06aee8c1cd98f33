"""What is known of an index expression: its range, and how it steps along each axis.

A `Scalar` of dtype i64 gets its form when it is made, from the forms of its operands. So asking
costs nothing, however deep the expression is and however often it uses a part of itself: a reshape
names its index twice, and thirty of them in a row name the first a thousand million times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from .schedule import STRIP

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
Range = tuple[int | None, int | None]
UNKNOWN: Range = (None, None)


@dataclass(frozen=True)
class StripStep:
    """How an index steps along an axis that is walked in strips, which begin at multiples of STRIP:
    `inside` from point to point of a strip, `across` from a strip's first point to the next's."""

    inside: int
    across: int

    def __mul__(self, factor: int) -> StripStep:
        return StripStep(self.inside * factor, self.across * factor)


NO_STRIPS: Mapping[Any, StripStep] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class IndexForm:
    """range    bounds, inclusive; None where nothing is known
    steps    d index / d axis for each axis in which the index is affine
    origin   the value with every axis at 0, if the index is affine in axes alone
    strips   how it steps along each axis in which it is affine strip by strip
    """

    range: Range
    steps: Mapping[Any, int]
    origin: int | None
    strips: Mapping[Any, StripStep]


NOTHING_KNOWN = IndexForm(UNKNOWN, {}, None, NO_STRIPS)


def index_form(op: str, args: Sequence[Any], payload: Any) -> IndexForm:
    """The form of the i64 expression `op(args)`; see ir.Scalar for what a leaf's payload is."""
    if op == "constant":
        return IndexForm((payload, payload), {}, payload, NO_STRIPS)
    if op == "axis":
        return IndexForm((0, payload.extent - 1), {payload: 1}, 0, NO_STRIPS)
    if op == "counter":
        return IndexForm((0, payload.extent - 1), {}, None, NO_STRIPS)
    forms = [arg.form for arg in args]
    if op not in ("add", "sub", "mul", "min", "max", "select", "mod", "floor_div"):
        return NOTHING_KNOWN
    steps, origin = _affine(op, args, forms)
    found, strips = _range(op, args, forms), _strips(op, args, forms)
    if found == UNKNOWN and not steps and origin is None and not strips:
        return NOTHING_KNOWN
    return IndexForm(found, steps, origin, strips)


def _strips(op: str, args: Sequence[Any], forms: Sequence[IndexForm]) -> Mapping[Any, StripStep]:
    """Along axes of which quotients and remainders by STRIP are in a sum or multiple."""
    if op in ("floor_div", "mod"):
        by_strips = args[1].op == "constant" and args[1].payload == STRIP
        return _divided(op, forms[0]) if by_strips else NO_STRIPS
    if not any(form.strips for form in forms):
        return NO_STRIPS
    if op in ("add", "sub"):
        sign, found = 1 if op == "add" else -1, {}
        for axis in forms[0].strips.keys() | forms[1].strips.keys():
            a, b = (_strip_step(arg, form, axis) for arg, form in zip(args, forms, strict=True))
            if a is not None and b is not None:
                found[axis] = StripStep(a.inside + sign * b.inside, a.across + sign * b.across)
        return found
    for form, other in zip(forms, reversed(args), strict=True):
        if op == "mul" and other.op == "constant":
            return {axis: step * other.payload for axis, step in form.strips.items()}
    return NO_STRIPS


def _divided(op: str, form: IndexForm) -> Mapping[Any, StripStep]:
    """Along the one axis with step 1 of an affine index that is at multiples of STRIP otherwise:
    a remainder steps from point to point, a quotient from strip to strip."""
    rest = {axis: step for axis, step in form.steps.items() if step % STRIP}
    if form.origin is None or form.origin % STRIP or list(rest.values()) != [1]:
        return NO_STRIPS
    return dict.fromkeys(rest, StripStep(1, 0) if op == "mod" else StripStep(0, 1))


def _strip_step(arg: Any, form: IndexForm, axis: Any) -> StripStep | None:
    """The step of a term of a sum; a plain one is the same in all strips."""
    step = _step(arg, form, axis)
    return form.strips.get(axis) if step is None else StripStep(step, step * STRIP)


def _affine(
    op: str, args: Sequence[Any], forms: Sequence[IndexForm]
) -> tuple[Mapping[Any, int], int | None]:
    if op in ("add", "sub"):
        sign = 1 if op == "add" else -1
        steps = {}
        for axis in args[0].axes | args[1].axes:
            a, b = (_step(arg, form, axis) for arg, form in zip(args, forms, strict=True))
            if a is not None and b is not None:
                steps[axis] = a + sign * b
        left, right = forms[0].origin, forms[1].origin
        return steps, None if left is None or right is None else left + sign * right
    for form, other in zip(forms, reversed(args), strict=True):
        if op == "mul" and other.op == "constant":
            factor, origin = other.payload, form.origin
            scaled = {axis: step * factor for axis, step in form.steps.items()}
            return scaled, None if origin is None else origin * factor
    return {}, None


def _step(arg: Any, form: IndexForm, axis: Any) -> int | None:
    return form.steps.get(axis) if axis in arg.axes else 0


def _range(op: str, args: Sequence[Any], forms: Sequence[IndexForm]) -> Range:
    if op in ("min", "max", "select"):
        return _range_of_choice(op, forms[-2].range, forms[-1].range)
    if op in ("mod", "floor_div"):
        if args[1].op != "constant" or args[1].payload <= 0:
            return UNKNOWN
        c = args[1].payload
        if op == "mod":
            return 0, c - 1
        low, high = forms[0].range
        return (None if low is None else low // c), (None if high is None else high // c)
    if op == "sub":
        return UNKNOWN
    (a_low, a_high), (b_low, b_high) = forms[0].range, forms[1].range
    if a_low is None or a_high is None or b_low is None or b_high is None:
        return UNKNOWN
    if op == "add":
        ends = [a_low + b_low, a_high + b_high]
    else:
        ends = [x * y for x in (a_low, a_high) for y in (b_low, b_high)]
    wraps = min(ends) < _LOWEST or max(ends) > _HIGHEST
    return UNKNOWN if wraps else (min(ends), max(ends))


def _range_of_choice(op: str, a: Range, b: Range) -> Range:
    """Bounds of a minimum, maximum or select of two indices."""
    lows = [x for x in (a[0], b[0]) if x is not None]
    highs = [x for x in (a[1], b[1]) if x is not None]
    low = min(lows) if len(lows) == 2 else None
    high = max(highs) if len(highs) == 2 else None
    if op == "min":
        return low, min(highs, default=None)
    if op == "max":
        return max(lows, default=None), high
    return low, high
