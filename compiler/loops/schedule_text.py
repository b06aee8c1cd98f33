"""Orders and schedules as text, and back; the grammar is in schedule.py.

In: an order or a schedule. Out: what stands on its loop or in its kernel. Parsing gives back
exactly what was printed; whether axes exist and fit is for check.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, assert_never, cast, get_args

from ..graph.text_cursor import Cursor
from .schedule import (
    Ahead,
    Grid,
    Nest,
    Order,
    Precision,
    Products,
    Run,
    Schedule,
    Staging,
    SumBlock,
    Tiles,
    Unrolled,
)

INDENT = "  "


def run_text(run: Run) -> str:
    return " * ".join(run)


def runs_text(runs: Sequence[Run]) -> str:
    return ", ".join(map(run_text, runs))


def order_text(order: Order) -> str:
    """`order i1 * i2 lanes 16 blocks 8 of i1 * i2`"""
    words = [f"order {runs_text(order.runs)}"]
    if order.as_one:
        words.append("as one")
    if order.lanes != 1:
        words.append(f"lanes {order.lanes}")
    if order.block is not None:
        words.append(f"blocks {order.block.points} of {run_text(order.runs[order.block.position])}")
    if order.wide:
        words.append("wide")
    return " ".join(words)


def schedule_lines(schedule: Schedule) -> list[str]:
    """The lines of a schedule, to stand last in its kernel."""
    match schedule:
        case Nest():
            name, lines = "nest", _nest_lines(schedule)
        case Tiles():
            name, lines = "tiles", _tile_lines(schedule)
        case Grid():
            name, lines = "grid", _grid_lines(schedule)
        case Products():
            name, lines = "products", _product_lines(schedule)
        case Unrolled():
            return ["schedule unrolled"]
        case _:
            assert_never(schedule)
    return [f"schedule {name} {{", *(INDENT + line for line in lines), "}"]


def _nest_lines(nest: Nest) -> list[str]:
    lines = [f"walk {runs_text(nest.walk)}"] if nest.walk else []
    if nest.vector is not None:
        lines.append(f"vector {run_text(nest.vector)} by {nest.width}")
    if nest.abreast is not None:
        lines.append(f"abreast {run_text(nest.abreast)}")
    if nest.ahead is not None:
        lines.append(f"ahead {nest.ahead.points} of {run_text(nest.ahead.run)}")
    if nest.threads is not None:
        lines.append(f"threads {run_text(nest.threads)}")
    return lines


def _tile_lines(tiles: Tiles) -> list[str]:
    outer = [f"outer {runs_text(tiles.outer)}"] if tiles.outer else []
    rows, columns = tiles.tile
    over = "" if tiles.over is None else f" over {run_text(tiles.over)}"
    spread = "" if tiles.spread is None else f" spread {run_text(tiles.spread)}"
    return [
        *outer,
        f"rows {run_text(tiles.rows)}{over}",
        f"columns {run_text(tiles.columns)}{spread}",
        f"terms {runs_text(tiles.terms)}",
        f"tile {rows} x {columns} by {tiles.lanes}",
        f"a {tiles.a.kind}",
        f"b {tiles.b.kind}",
        f"blocks {' x '.join(map(str, tiles.blocks))}",
        f"each {tiles.each}",
        *([] if tiles.threads is None else [f"threads {run_text(tiles.threads)}"]),
    ]


def _grid_lines(grid: Grid) -> list[str]:
    walk = [f"walk {runs_text(grid.walk)}"] if grid.walk else []
    return [*walk, f"block {grid.points} x {grid.terms}", f"warps {grid.warps}"]


def _product_lines(products: Products) -> list[str]:
    outer = [f"outer {runs_text(products.outer)}"] if products.outer else []
    return [
        *outer,
        f"rows {runs_text(products.rows)}",
        f"columns {runs_text(products.columns)}",
        f"terms {runs_text(products.terms)}",
        f"tile {' x '.join(map(str, products.tile))} {products.precision}",
        f"warps {products.warps}",
        f"stages {products.stages}",
    ]


# -- parsing --------------------------------------------------------------------------------


def parse_order(cursor: Cursor) -> Order:
    """An order behind the word `order`."""
    runs = _runs(cursor)
    as_one = cursor.accept("as")
    if as_one:
        cursor.expect("one")
    lanes = cursor.integer("a number of lanes") if cursor.accept("lanes") else 1
    block = None
    if cursor.accept("blocks"):
        points = cursor.integer("a number of points")
        cursor.expect("of")
        start = cursor.token
        run = _run(cursor)
        if run not in runs:
            raise cursor.error(f"{run_text(run)} is no run of this order", start)
        block = SumBlock(runs.index(run), points)
    return Order(runs, lanes, block, cursor.accept("wide"), as_one)


def parse_schedule(cursor: Cursor) -> Schedule:
    """A schedule behind the word `schedule`."""
    start = cursor.token
    kind = cursor.kind("word", "a kind of schedule").text
    if kind == "unrolled":
        return Unrolled()
    if kind not in _PARSERS:
        raise cursor.error(f"unknown kind of schedule {kind!r}", start)
    cursor.expect("{")
    schedule = _PARSERS[kind](cursor)
    cursor.expect("}")
    return schedule


def _nest(cursor: Cursor) -> Nest:
    walk = _runs(cursor) if cursor.accept("walk") else ()
    vector, width = None, 1
    if cursor.accept("vector"):
        vector = _run(cursor)
        cursor.expect("by")
        width = cursor.integer("a number of lanes")
    abreast = _run(cursor) if cursor.accept("abreast") else None
    ahead = None
    if cursor.accept("ahead"):
        points = cursor.integer("a number of points")
        ahead = Ahead(points, _run_behind(cursor, "of"))
    threads = _run(cursor) if cursor.accept("threads") else None
    return Nest(walk, vector, width, ahead, threads, abreast)


def _tiles(cursor: Cursor) -> Tiles:
    outer = _runs(cursor) if cursor.accept("outer") else ()
    rows = _run_behind(cursor, "rows")
    over = _run(cursor) if cursor.accept("over") else None
    columns = _run_behind(cursor, "columns")
    spread = _run(cursor) if cursor.accept("spread") else None
    cursor.expect("terms")
    terms = _runs(cursor)
    cursor.expect("tile")
    tile = _sizes(cursor, 2)
    cursor.expect("by")
    lanes = cursor.integer("a number of lanes")
    cursor.expect("a")
    a = _staging(cursor)
    cursor.expect("b")
    b = _staging(cursor)
    cursor.expect("blocks")
    blocks = _sizes(cursor, 3)
    cursor.expect("each")
    each: Literal["strip", "tile"] = "strip" if cursor.accept("strip") else "tile"
    if each == "tile":
        cursor.expect("tile")
    threads = _run(cursor) if cursor.accept("threads") else None
    return Tiles(
        outer, rows, over, columns, spread, terms, (tile[0], tile[1]), lanes, a, b,
        (blocks[0], blocks[1], blocks[2]), each, threads,
    )  # fmt: skip


def _grid(cursor: Cursor) -> Grid:
    walk = _runs(cursor) if cursor.accept("walk") else ()
    cursor.expect("block")
    points, terms = _sizes(cursor, 2)
    cursor.expect("warps")
    return Grid(walk, points, terms, cursor.integer("a number of warps"))


def _products(cursor: Cursor) -> Products:
    outer = _runs(cursor) if cursor.accept("outer") else ()
    rows, columns, terms = (_runs_behind(cursor, word) for word in ("rows", "columns", "terms"))
    cursor.expect("tile")
    tile = _sizes(cursor, 3)
    start = cursor.token
    precision = cursor.kind("word", "a precision").text
    if precision not in get_args(Precision):
        raise cursor.error(f"unknown precision {precision!r}", start)
    cursor.expect("warps")
    warps = cursor.integer("a number of warps")
    cursor.expect("stages")
    stages = cursor.integer("a number of stages")
    return Products(
        outer, rows, columns, terms, (tile[0], tile[1], tile[2]), cast(Precision, precision),
        warps, stages,
    )  # fmt: skip


_PARSERS: Mapping[str, Callable[[Cursor], Schedule]] = MappingProxyType(
    {"nest": _nest, "tiles": _tiles, "grid": _grid, "products": _products}
)


def _staging(cursor: Cursor) -> Staging:
    if cursor.accept("computed"):
        return Staging("computed")
    if cursor.accept("copied"):
        return Staging("copied")
    if cursor.accept("in"):
        cursor.expect("place")
        return Staging("in place")
    cursor.expect("packed")
    if cursor.accept("rows"):
        return Staging("packed rows")
    if cursor.accept("columns"):
        return Staging("packed columns")
    cursor.expect("any")
    return Staging("packed any")


def _sizes(cursor: Cursor, count: int) -> tuple[int, ...]:
    """5 x 8 x 784"""
    found = [cursor.integer("a size")]
    while len(found) < count:
        cursor.expect("x")
        found.append(cursor.integer("a size"))
    return tuple(found)


def _run_behind(cursor: Cursor, word: str) -> Run:
    cursor.expect(word)
    return _run(cursor)


def _runs_behind(cursor: Cursor, word: str) -> tuple[Run, ...]:
    cursor.expect(word)
    return _runs(cursor)


def _runs(cursor: Cursor) -> tuple[Run, ...]:
    found = [_run(cursor)]
    while cursor.accept(","):
        found.append(_run(cursor))
    return tuple(found)


def _run(cursor: Cursor) -> Run:
    names = [cursor.kind("word", "an axis name").text]
    while cursor.accept("*"):
        names.append(cursor.kind("word", "an axis name").text)
    return tuple(names)
