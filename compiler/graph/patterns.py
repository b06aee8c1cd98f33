"""Patterns: the text form of a rewrite rule, parsed once; matching, and building what replaces.

    pattern   ::= operation [ "{" name "=" capture { "," name "=" capture } "}" ] "(" patterns ")"
                | name | number | "true" | "false"
    patterns  ::= pattern { "," pattern }

    mul(x, 1)                              a name matches any node; the same name, the same node
    transpose{permutation=p}(neg(x))       p captures the attribute; unnamed attributes are free

A number matches a `constant` whose every element is that number; 0 and -0 are different numbers,
and 1 matches 1.0. `true` and `false` match bool constants. To replace, a number takes the type of
the node that is replaced, or of the operand beside it. Where an operation is commutative, both
orders of its operands are tried, the written one first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..errors import VerifyError
from ..ops import OP_WITH_NAME
from ..ops.definition import COMMUTATIVE, OpDef
from ..ops.source import CONSTANT, constant_like
from .ir import Attribute, Node, apply


@dataclass(frozen=True)
class Variable:
    """Matches any node."""

    name: str


@dataclass(frozen=True)
class Splat:
    """Matches a constant with this number in every element."""

    number: bool | int | float


@dataclass(frozen=True)
class Call:
    """Matches an operation; `captures` maps attribute names to the names that hold them."""

    op: OpDef
    captures: tuple[tuple[str, str], ...]
    operands: tuple[Pattern, ...]


Pattern: TypeAlias = Variable | Splat | Call


@dataclass
class Bindings:
    """What the names of a pattern stand for in one match."""

    nodes: dict[str, Node] = field(default_factory=dict)
    attributes: dict[str, Attribute] = field(default_factory=dict)

    def copy(self) -> Bindings:
        return Bindings(dict(self.nodes), dict(self.attributes))


_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|-?[0-9]+(?:\.[0-9]+)?|[(){},=])")


def parse_pattern(text: str) -> Pattern:
    """The pattern that the text writes. Raises VerifyError: rules are part of the compiler."""
    words: list[str] = []
    offset = 0
    while text[offset:].strip():
        found = _TOKEN.match(text, offset)
        if found is None:
            raise VerifyError(f"bad pattern {text!r} at {text[offset:]!r}")
        words.append(found.group(1))
        offset = found.end()
    words.append("")
    pattern, rest = _parse(words, text)
    if rest != [""]:
        raise VerifyError(f"bad pattern {text!r}: {rest[0]!r} is left over")
    return pattern


def _parse(words: list[str], text: str) -> tuple[Pattern, list[str]]:
    word, rest = words[0], words[1:]
    if word in ("true", "false"):
        return Splat(word == "true"), rest
    if re.fullmatch(r"-?[0-9.]+", word):
        # An integer pattern matches 1.0 too; only -0 must be a float to keep its sign.
        return Splat(float(word) if "." in word or word == "-0" else int(word)), rest
    if rest[:1] not in (["("], ["{"]):
        if not word.isidentifier():
            raise VerifyError(f"bad pattern {text!r}: {word!r} is no name")
        return Variable(word), rest
    if word not in OP_WITH_NAME:
        raise VerifyError(f"bad pattern {text!r}: unknown operation {word!r}")
    captures = []
    if rest[0] == "{":
        while rest[0] != "}":
            name, equals, capture, *rest = rest[1:]
            if equals != "=" or rest[0] not in (",", "}"):
                raise VerifyError(f"bad pattern {text!r}: attributes are written {{name=capture}}")
            captures.append((name, capture))
        rest = rest[1:]
    operands = []
    if rest[0] != "(":
        raise VerifyError(f"bad pattern {text!r}: operands are missing after {word!r}")
    while rest[0] != ")":
        operand, rest = _parse(rest[1:], text)
        if rest[0] not in (",", ")"):
            raise VerifyError(f"bad pattern {text!r}: expected , or ) and found {rest[0]!r}")
        operands.append(operand)
    return Call(OP_WITH_NAME[word], tuple(captures), tuple(operands)), rest[1:]


def names_in(pattern: Pattern) -> frozenset[str]:
    """Every name of a node or an attribute in the pattern."""
    if isinstance(pattern, Variable):
        return frozenset([pattern.name])
    if isinstance(pattern, Splat):
        return frozenset()
    own = frozenset(capture for _, capture in pattern.captures)
    return own.union(*map(names_in, pattern.operands))


Trait: TypeAlias = Hashable
"""What can be asked of the operands of a node together, before any pattern is matched: the name of
an operation that one of them has; a number, as `_number`, that is every element of one; TWICE."""

TWICE = object()
"""The trait of operands two of which are one node."""


def traits(operands: Sequence[Node]) -> set[Trait]:
    """All traits of a node's operands."""
    found: set[Trait] = {operand.op.name for operand in operands}
    if CONSTANT.name in found:
        numbers = [splat_value(operand) for operand in operands]
        found.update(_number(number) for number in numbers if number is not None)
    if len(set(operands)) < len(operands):
        found.add(TWICE)
    return found


def under(pattern: Pattern) -> frozenset[Trait]:
    """The traits that the operands of what the pattern matches must have."""
    assert isinstance(pattern, Call)
    wanted: set[Trait] = {p.op.name for p in pattern.operands if isinstance(p, Call)}
    wanted.update(_number(p.number) for p in pattern.operands if isinstance(p, Splat))
    names = [p.name for p in pattern.operands if isinstance(p, Variable)]
    return frozenset(wanted | ({TWICE} if len(set(names)) < len(names) else set()))


def matches(pattern: Pattern, node: Node, bindings: Bindings) -> Iterator[Bindings]:
    """Every way in which the pattern matches, in the order described in the module docstring."""
    if isinstance(pattern, Variable):
        known = bindings.nodes.get(pattern.name)
        if known is None:
            bindings = bindings.copy()
            bindings.nodes[pattern.name] = node
        if known is None or known is node:
            yield bindings
    elif isinstance(pattern, Splat):
        if _is_number(splat_value(node), pattern.number):
            yield bindings
    elif node.op is pattern.op and len(node.inputs) == len(pattern.operands):
        if pattern.captures:
            bindings = bindings.copy()
        for name, capture in pattern.captures:
            if (
                bindings.attributes.setdefault(capture, node.attributes[name])
                != node.attributes[name]
            ):
                return
        orders = [node.inputs]
        if COMMUTATIVE in node.op.flags and node.inputs[0] is not node.inputs[1]:
            orders.append(node.inputs[::-1])
        for inputs in orders:
            if all(map(_may_match, pattern.operands, inputs)):
                yield from _match_all(pattern.operands, inputs, bindings)


def _may_match(pattern: Pattern, node: Node) -> bool:
    """Whether the top of the pattern fits: asked first, because most patterns fail there."""
    if isinstance(pattern, Variable):
        return True
    if isinstance(pattern, Splat):
        return _is_number(splat_value(node), pattern.number)
    return node.op is pattern.op


def _match_all(
    patterns: tuple[Pattern, ...], nodes: tuple[Node, ...], bindings: Bindings
) -> Iterator[Bindings]:
    if not patterns:
        yield bindings
        return
    for found in matches(patterns[0], nodes[0], bindings):
        yield from _match_all(patterns[1:], nodes[1:], found)


def splat_value(node: Node) -> bool | int | float | None:
    """The number that is every element of a constant; None for any other node.

    Text may write an integer for a float. A number of another kind than the constant's, which
    holds something else once it is converted, is not recognised.
    """
    if node.op is not CONSTANT:
        return None
    value, dtype = node.attributes["value"], node.type.dtype
    if isinstance(value, bool) or dtype.is_bool:
        return value if isinstance(value, bool) and dtype.is_bool else None
    if dtype.is_float:
        return float(value) if isinstance(value, (int, float)) else None
    return value if isinstance(value, int) else None


def _is_number(found: bool | int | float | None, wanted: bool | int | float) -> bool:
    return found is not None and _number(found) == _number(wanted)


def _number(number: bool | int | float) -> tuple[bool, int | float, float]:
    """Equal for numbers that are one to a pattern: 1 and 1.0; not 0 and -0, nor 1 and true."""
    return isinstance(number, bool), number, math.copysign(1, number)


def build(pattern: Pattern, bindings: Bindings, like: Node) -> Node:
    """The node that the pattern describes; a bare number gets the type of `like`."""
    if isinstance(pattern, Variable):
        return bindings.nodes[pattern.name]
    if isinstance(pattern, Splat):
        return constant_like(like, pattern.number)
    beside = [p for p in pattern.operands if not isinstance(p, Splat)]
    model = build(beside[0], bindings, like) if beside else like
    operands = [build(p, bindings, model) for p in pattern.operands]
    attributes = {name: bindings.attributes[capture] for name, capture in pattern.captures}
    return apply(pattern.op, *operands, source=like.source, **attributes)
