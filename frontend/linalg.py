"""Linear algebra under the names of torch.linalg and of the Array API's extension.

All of them are functions of `gc` too.
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
    matrix_norm,
    matrix_power,
    matrix_transpose,
    multi_dot,
    norm,
    outer,
    qr,
    slogdet,
    solve,
    solve_triangular,
    tensordot,
    trace,
    vander,
    vecdot,
    vector_norm,
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
    "matrix_norm",
    "matrix_power",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "tensordot",
    "trace",
    "vander",
    "vecdot",
    "vector_norm",
]

__getattr__, __dir__ = namespace(globals())
