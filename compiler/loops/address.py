"""Addresses: where in its buffer an element lies, as one index expression.

%w[i, j] of f32[96, 5]                           5 * i + j
                       order [1, 0]              i + 96 * j
                       order [1, 0] strips 32    160 * floor_div(i, 32) + mod(i, 32) + 32 * j
"""

from __future__ import annotations

from .build import ScalarBuilder
from .digits import address_terms
from .ir import Buffer, Scalar


def flat_address(k: ScalarBuilder, buffer: Buffer, index: tuple[Scalar, ...]) -> Scalar:
    """Position of an element, in elements from the buffer's start."""
    if buffer.layout.strip:
        return _address_in_strips(k, buffer, index)
    address = k.index(buffer.layout.offset)
    for scalar, stride in address_terms(index, buffer.layout.strides):
        address = k.add(address, k.mul(scalar, k.index(stride)))
    return address


def _address_in_strips(k: ScalarBuilder, buffer: Buffer, index: tuple[Scalar, ...]) -> Scalar:
    """The same of a buffer in strips: each is an array of its own, the innermost axis so long."""
    layout = buffer.layout
    inner, width = layout.order[-1], k.index(layout.strip)
    strips = int(buffer.type.shape[inner]) // layout.strip
    address = k.mul(k.floor_div(index[inner], width), k.index(layout.size_elements // strips))
    for axis, (scalar, stride) in enumerate(zip(index, layout.strides, strict=True)):
        if axis != inner:
            address = k.add(address, k.mul(scalar, k.index(stride // strips)))
    return k.add(address, k.mod(index[inner], width))
