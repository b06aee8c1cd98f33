"""What the verifier says of orders and schedules that cannot be followed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradc.compiler.errors import VerifyError
from gradc.compiler.loops.check import verify_kernel
from gradc.compiler.loops.schedule import Order, SumBlock
from gradc.compiler.loops.text import parse_kernel
from gradc.compiler.program.text import parse_program
from gradc.compiler.program.verify import verify_program

SUM = """\
buffer %x : f32[4, 6, 5, 50] in input slot 0
buffer %y : f32[4, 6] in output slot 0
kernel k {
  parallel a in 4
  parallel b in 6
  loop i in 5, j in 50 order i * j lanes 16 blocks 8 of i * j {
    %s = sum(%x[a, b, i, j]) : f32
  }
  loop {
    %y[a, b] = %s
  }
  schedule nest {
    walk b, a
    vector i * j by 16
    threads b
  }
}
"""
RUNNING = """\
buffer %x : f32[3, 50] in input slot 0
buffer %y : f32[3, 50] in output slot 0
kernel k {
  parallel i in 3 bounded
  loop j in 50 running order j wide {
    %c = sum(%x[i, j]) : f32
    %y[i, j] = %c
  }
  schedule nest {
    walk i
  }
}
"""
SCATTER = """\
buffer %at : i64[6, 5] in input slot 0
buffer %y : f64[4] in output slot 0
kernel k {
  loop u in 6, v in 5 order u, v {
    accumulate %y[%at[u, v]] = 1.0 : f64
  }
}
"""
POSITION = """\
buffer %x : f32[4, 5] in input slot 0
buffer %y : i64[] in output slot 0
kernel k {
  loop i in 4, j in 5 order i * j {
    %p = argmax(%x[i, j]) : i64
  }
  loop {
    %y[] = %p
  }
}
"""
PRODUCT = """\
buffer %x : f32[3, 64, 2, 700] in input slot 0
buffer %w : f32[3, 2, 700, 48] in input slot 1
buffer %y : f32[3, 64, 48] in output slot 0
kernel k {
  parallel g in 3
  parallel m in 64
  parallel n in 48
  loop i in 2, j in 700 order i * j blocks 256 of i * j {
    %p = dot(mul(%x[g, m, i, j], %w[g, i, j, n])) : f32
  }
  loop {
    %y[g, m, n] = %p
  }
  schedule tiles {
    outer g
    rows m
    columns n
    terms i * j
    tile 13 x 32 by 16
    a in place
    b packed rows
    blocks 5 x 2 x 512
    each strip
    threads n
  }
}
"""
TWO_LOOPS = """\
buffer %x : f32[4, 6] in input slot 0
buffer %y : f32[4, 6] in output slot 0
kernel k {
  loop i in 4, j in 6 order i, j {
    %s = sum(%x[i, j]) : f32
  }
  loop i in 4, j in 6 order i, j {
    %y[i, j] = %s
  }
}
"""
MASK = """\
buffer %x : f32[4, 6] in input slot 0
buffer %y : f32[] in output slot 0
kernel k {
  loop i in 4, j in 6 order i, j {
    %s = sum(select(lt(j, 3), %x[i, j], 0.0 : f32)) : f32
  }
  loop {
    %y[] = %s
  }
}
"""
GATHER = """\
buffer %x : f32[4, 6] in input slot 0
buffer %at : i64[4, 6] in input slot 1
buffer %y : f32[] in output slot 0
kernel k {
  loop i in 4, j in 6 order i, j {
    %s = sum(%x[i, %at[i, j]]) : f32
  }
  loop {
    %y[] = %s
  }
}
"""
ROWS = """\
buffer %x : f32[9, 80] in input slot 0
buffer %at : i64[6] in input slot 1
buffer %y : f32[6, 80] in output slot 0
kernel k {
  parallel i in 6
  parallel j in 80
  loop {
    %y[i, j] = %x[%at[i], j]
  }
  schedule nest {
    walk i, j
    vector j by 16
    ahead 2 of i
    threads i
  }
}
"""
ALL = (SUM, ROWS, RUNNING, SCATTER, POSITION, PRODUCT, TWO_LOOPS, MASK, GATHER)


@pytest.mark.parametrize("text", ALL)
def test_what_can_be_followed_passes(text: str) -> None:
    verify_kernel(parse_kernel(text))


REFUSED = [
    # orders
    (SUM, "order i * j lanes 16 blocks 8 of i * j", "order j, i",
     "loop 0: the order is of j, i\n  its axes are i, j"),
    (SUM, "order i * j lanes 16 blocks 8 of i * j", "order j",
     "loop 0: the order is of j\n  its axes are i, j"),
    (SUM, "loop {\n", "loop order a {\n", "loop 1: the order is of a\n  its axes are none"),
    (SUM, "lanes 16", "lanes 8", "loop 0: an order has 1 or 16 lanes, not 8"),
    (SUM, "blocks 8", "blocks 16",
     "loop 0: blocks of 16 do not cut i * j\n  it has 16 points for each partial result"),
    (SUM, "blocks 8", "blocks 0",
     "loop 0: blocks of 0 do not cut i * j\n  it has 16 points for each partial result"),
    (SUM, "sum(%x", "max(%x", "loop 0: only sums and products of floats have blocks"),
    (SUM, " blocks 8 of i * j", " wide",
     "loop 0: only running sums and products of floats are wide"),
    (RUNNING, "wide", "lanes 16", "loop 0: a running loop has no lanes: its points take turns"),
    (RUNNING, "wide", "blocks 8 of j", "loop 0: only sums and products of floats have blocks"),
    (SCATTER, "u, v {", "u, v lanes 16 {",
     "loop 0: an accumulating loop has no lanes: its points take turns"),
    (POSITION, "order i * j", "order i, j",
     "loop 0, %p: argmax is along one run, not i, j"),
    # runs
    (SUM, "%x[a, b, i, j]", "%x[a, b, sub(4, i), j]",
     "loop 0: i * j are not one run\n"
     "  along i an address in x steps by -50, along the 50 points of j by 1"),
    (GATHER, "order i, j", "order i * j",
     "loop 0: i * j are not one run\n"
     "  along i an address in x steps by no fixed number, "
     "along the 6 points of j by no fixed number"),
    (MASK, "order i, j", "order i * j",
     "loop 0: i * j are not one run\n  a value depends on where j stands"),
    (TWO_LOOPS, "order i, j", "order i * j",
     "loop 0: i * j are not one run\n  several loops walk i"),
    (SUM, "b in 6\n", "b in 6 bounded\n", ""),
    (SUM, "b in 6\n  loop i in 5, j in 50", "b in 6\n  loop i in 5, j in 50 bounded",
     "loop 0: i * j are not one run\n  j is bounded, and not the first"),
    # nests
    (SUM, "walk b, a", "walk b", "schedule nest: it walks b\n  the axes are a, b"),
    (SUM, "walk b, a", "walk b, a, b", "schedule nest: it walks b, a, b\n  the axes are a, b"),
    (SUM, "    walk b, a\n", "", "schedule nest: it walks nothing\n  the axes are a, b"),
    (SUM, "walk b, a", "walk b * a",
     "schedule nest: b * a are not one run\n"
     "  along b an address in x steps by 250, along the 4 points of a by 1500"),
    (SUM, "threads b", "threads a * b",
     "schedule nest: threads share a * b, which is none of its runs\n  its runs are b, a"),
    (SUM, "vector i * j", "vector j",
     "schedule nest: vector j is no run that it walks\n  nor the last run of a loop"),
    *((SUM, "by 16", f"by {width}",
       f"schedule nest: a vector along i * j has 16 to 256 lanes, a power of two, not {width}")
      for width in (0, 8, 24, 48, 512)),
    *((ROWS, "by 16", f"by {width}",
       f"schedule nest: a vector along j has 4 to 256 lanes, a power of two, not {width}")
      for width in (0, 2, 12, 512)),
    (SCATTER, "  }\n}", "  }\n  schedule nest {\n    vector v by 16\n  }\n}",
     "schedule nest: lanes along v, where loop 0 accumulates\n  its points take turns"),
    *((ROWS, "2 of i", f"{ahead}",
       f"schedule nest: ahead {ahead}\n  outside of the vectorised run are i")
      for ahead in ("2 of j", "0 of i", "1 of k")),
    (ROWS, "walk i, j", "walk j, i",
     "schedule nest: ahead 2 of i\n  outside of the vectorised run are none"),
    # tiles
    (PRODUCT, "dot(mul", "sum(mul", "schedule tiles, %p: tiles are for products, not sum"),
    (PRODUCT, " order i * j blocks 256 of i * j", "",
     "schedule tiles: tiles are for products whose first loop has an order"),
    (PRODUCT, "    outer g\n", "", "schedule tiles: it walks m, n\n  the axes are g, m, n"),
    (PRODUCT, "terms i * j", "terms i, j",
     "schedule tiles: terms i, j, one after the other, are not its loop's order\n"
     "  order i * j blocks 256 of i * j"),
    (PRODUCT, "order i * j blocks", "order i * j lanes 16 blocks",
     "loop 0: blocks of 256 do not cut i * j\n  it has 88 points for each partial result"),
    (PRODUCT, "order i * j blocks 256", "order i * j lanes 16 blocks 8",
     "schedule tiles: terms i * j, one after the other, are not its loop's order\n"
     "  order i * j lanes 16 blocks 8 of i * j"),
    (PRODUCT, "threads n", "threads i * j",
     "schedule tiles: threads share i * j, which is none of its runs\n  its runs are g, m, n"),
    (PRODUCT, "tile 13 x 32", "tile 13 x 24",
     "schedule tiles: no tile is 13 x 24 by 16\n  columns are multiples of 8 and of its lanes"),
    (PRODUCT, "tile 13 x 32", "tile 0 x 32",
     "schedule tiles: no tile is 0 x 32 by 16\n  columns are multiples of 8 and of its lanes"),
    (PRODUCT, "by 16", "by 64",
     "schedule tiles: no tile is 13 x 32 by 64\n  columns are multiples of 8 and of its lanes"),
    (PRODUCT, "5 x 2 x 512", "5 x 0 x 512",
     "schedule tiles: blocks 5 x 0 x 512 are not parts of 64 x 48 x 1400"),
    (PRODUCT, "x 512", "x 300", "schedule tiles: 300 terms at a time cut blocks of 256"),
    (PRODUCT, "x 512", "x 1400", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "old", "new", "message"), REFUSED)
def test_what_cannot_be_followed_is_refused(text: str, old: str, new: str, message: str) -> None:
    assert old in text
    kernel = parse_kernel(text.replace(old, new))
    if not message:
        verify_kernel(kernel)
        return
    with pytest.raises(VerifyError) as caught:
        verify_kernel(kernel)
    assert str(caught.value) == f"kernel k: {message}"


def test_a_block_that_no_text_can_have_is_refused() -> None:
    kernel = parse_kernel(SUM)
    loop = replace(kernel.loops[0], order=Order((("i", "j"),), 16, SumBlock(1, 8)))
    with pytest.raises(VerifyError, match=r"^kernel k: loop 0: no run has number 1$"):
        verify_kernel(replace(kernel, loops=(loop, kernel.loops[1])))


INPUTS = "  input %at : i64[3]\n  input %x : f32[3]\n"
PROGRAM = """\
program p {
  output %y : f32[3]
  buffer %y : f32[3] in output slot 0
  repeat resident {
    kernel k {
      parallel i in 3
      loop {
        %y[i] = 1.0 : f32
      }
      schedule unrolled
    }
  }
}
"""


def test_kernels_are_unrolled_in_resident_loops_alone() -> None:
    verify_program(parse_program(PROGRAM))
    with pytest.raises(VerifyError) as caught:
        verify_program(parse_program(PROGRAM.replace("repeat resident", "repeat")))
    assert str(caught.value) == "kernel k is unrolled, but is in no resident repeat"
    nest = PROGRAM.replace("schedule unrolled", "schedule nest { walk i }")
    verify_program(parse_program(nest.replace("repeat resident", "repeat")))
    with pytest.raises(VerifyError) as caught:
        verify_program(parse_program(nest))
    assert str(caught.value) == "kernel k is in a resident repeat, but is not unrolled"


@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        ("i in 3\n", "i in 3 bounded\n", "axis i ends at a number known at run time"),
        ("%y[i]", "%y[%at[i]]", "an address in y is known at run time alone"),
        ("= 1.0 : f32", "= %w[%at[i]]", "an address in w is known at run time alone"),
        ("= 1.0 : f32", "= %w[min(rows, 2)]", "an address in w is known at run time alone"),
        ("= 1.0 : f32", "= %x[%at[i]]", ""),  # the data set is read where it lies
        ("= 1.0 : f32", "= %w[mod(i, 2)]", ""),
    ],
)
def test_what_cannot_be_unrolled_is_in_no_resident_loop(old: str, new: str, fact: str) -> None:
    buffers = (
        "  buffer %at : i64[3] in input slot 0\n  buffer %x : f32[3] in input slot 1\n"
        "  buffer %w : f32[3] in state at 0\n"
    )
    text = PROGRAM.replace("  repeat", buffers + "  repeat").replace(
        "  output", INPUTS + "  output"
    )
    program = parse_program(text.replace(old, new))
    if not fact:
        verify_program(program)
        return
    with pytest.raises(VerifyError) as caught:
        verify_program(program)
    assert str(caught.value) == f"kernel k is in a resident repeat\n  {fact}"
