"""PyTorch's and NumPy's names of functions that have the Array API's here: the same functions.

Each takes the arguments in the same order; names of arguments are those of spellings.py.
"""

from __future__ import annotations

from .activation import sigmoid
from .arithmetic import deg2rad, rad2deg
from .comparison import (
    bitwise_invert,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    not_equal,
)
from .creation import asarray, constant
from .elementwise import (
    abs,
    clip,
    digamma,
    divide,
    lgamma,
    multiply,
    negative,
    positive,
    pow,
    round,
    sign,
    stop_gradient,
    subtract,
    trunc,
)
from .linalg import matmul, outer
from .manipulation import (
    broadcast_arrays,
    concat,
    expand_dims,
    flatten,
    moveaxis,
    permute_dims,
    repeat,
    swapaxes,
    unstack,
)
from .special import mvlgamma
from .statistics import max, min
from .trigonometry import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
)

__all__ = [
    "absolute",
    "amax",
    "amin",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "array",
    "as_tensor",
    "bitwise_not",
    "bmm",
    "broadcast_tensors",
    "cat",
    "clamp",
    "clone",
    "degrees",
    "detach",
    "div",
    "eq",
    "expit",
    "fix",
    "from_numpy",
    "gammaln",
    "ge",
    "ger",
    "gt",
    "le",
    "lt",
    "mm",
    "movedim",
    "multigammaln",
    "mul",
    "mv",
    "ne",
    "neg",
    "permute",
    "power",
    "psi",
    "radians",
    "ravel",
    "repeat_interleave",
    "rint",
    "sgn",
    "sub",
    "swapdims",
    "tensor",
    "true_divide",
    "unbind",
    "unsqueeze",
]

absolute = abs
amax, amin = max, min
arccos, arcsin, arctan, arctan2 = acos, asin, atan, atan2
arccosh, arcsinh, arctanh = acosh, asinh, atanh
array = from_numpy = tensor = constant
as_tensor = asarray
bitwise_not = bitwise_invert
bmm = mm = mv = matmul
degrees, radians = rad2deg, deg2rad
broadcast_tensors = broadcast_arrays
cat = concat
clamp = clip
clone = positive
detach = stop_gradient
div = true_divide = divide
eq, ne, lt, le, gt, ge = equal, not_equal, less, less_equal, greater, greater_equal
expit, psi, gammaln, multigammaln = sigmoid, digamma, lgamma, mvlgamma
fix = trunc
ger = outer
movedim, swapdims, permute = moveaxis, swapaxes, permute_dims
mul, sub, neg, power, sgn = multiply, subtract, negative, pow, sign
ravel = flatten
repeat_interleave = repeat
rint = round
unbind, unsqueeze = unstack, expand_dims
