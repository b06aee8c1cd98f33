"""Linear algebra under the names of torch.linalg and of the Array API's extension.

All of them are functions of `gc` too. Norms are gc's of the same names.
"""

from .functional import (
    cholesky,
    cross,
    det,
    diagonal,
    inv,
    lstsq,
    lu,
    matmul,
    matrix_power,
    matrix_transpose,
    outer,
    qr,
    slogdet,
    solve,
    solve_triangular,
    tensordot,
    trace,
    vecdot,
)
from .missing import namespace

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "inv",
    "lstsq",
    "lu",
    "matmul",
    "matrix_power",
    "matrix_transpose",
    "outer",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "tensordot",
    "trace",
    "vecdot",
]

__getattr__, __dir__ = namespace(globals())
