"""Factors of matrices and what is solved with them, in the table of empty_and_identity_calls.py."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradc as gc

Z, E, ONE = np.zeros((0,)), np.zeros((0, 3)), np.array([[0.4]])
NO_ROWS, SQUARES = np.zeros((0, 0)), np.zeros((0, 2, 2))
M = np.random.default_rng(23).normal(size=(2, 3))

OF_MATRICES: dict[str, list[tuple[Any, Any]]] = {
    "cholesky": [
        (lambda: gc.cholesky(SQUARES), SQUARES),
        (lambda: gc.cholesky(NO_ROWS), NO_ROWS),
        (lambda: gc.cholesky(ONE, upper=True), np.sqrt(ONE)),
    ],
    "cholesky_inverse": [(lambda: gc.cholesky_inverse(np.eye(2)), np.eye(2))],
    "cholesky_solve": [
        (lambda: gc.cholesky_solve(M, np.eye(2)), M),
        (lambda: gc.cholesky_solve(E, NO_ROWS), E),
    ],
    "solve_triangular": [
        (lambda: gc.solve_triangular(np.eye(2), M, upper=True), M),
        (lambda: gc.solve_triangular(M[:, :2], M * 0, upper=False), M * 0),
        (lambda: gc.solve_triangular(NO_ROWS, E, upper=False), E),
        (lambda: gc.solve_triangular(np.eye(2), np.zeros((2, 0)), upper=False), np.zeros((2, 0))),
        (
            lambda: gc.solve_triangular(M[:, 1:], M, upper=True, unitriangular=True, left=True),
            np.linalg.solve(np.triu(M[:, 1:], 1) + np.eye(2), M),
        ),
    ],
    "solve": [
        (lambda: gc.solve(np.eye(2), M), M),
        (lambda: gc.solve(NO_ROWS, E), E),
        (lambda: gc.solve(NO_ROWS, Z), Z),
        (lambda: gc.solve(ONE, ONE), np.ones((1, 1))),
        (lambda: gc.solve(np.eye(3), M, left=False), M),
    ],
    "inv": [(lambda: gc.inv(SQUARES), SQUARES), (lambda: gc.inv(ONE), 1 / ONE)],
    "inverse": [(lambda: gc.inverse(NO_ROWS), NO_ROWS)],
    "matrix_power": [
        (lambda: gc.matrix_power(M[:, :2], 0), np.eye(2)),
        (lambda: gc.matrix_power(M[:, :2], 1), M[:, :2]),
        (lambda: gc.matrix_power(SQUARES, -3), SQUARES),
    ],
    "det": [
        (lambda: gc.det(NO_ROWS), np.array(1.0)),
        (lambda: gc.det(SQUARES), np.zeros(0)),
        (lambda: gc.det(ONE), np.array(0.4)),
    ],
    "logdet": [(lambda: gc.logdet(NO_ROWS), np.array(0.0)), (lambda: gc.logdet(SQUARES), Z)],
    "slogdet": [
        (lambda: gc.slogdet(NO_ROWS)[0], np.array(1.0)),
        (lambda: gc.slogdet(-ONE)[1], np.log(0.4)),
    ],
    "lu": [
        (lambda: gc.lu(NO_ROWS).L, NO_ROWS),
        (lambda: gc.lu(np.eye(2)).P, np.eye(2)),
        (lambda: gc.lu(SQUARES).P, SQUARES),
    ],
    "qr": [
        (lambda: gc.qr(np.zeros((3, 0))).Q, np.zeros((3, 0))),
        (lambda: gc.qr(E).Q, NO_ROWS),
        (lambda: gc.qr(E).R, E),
        (lambda: gc.qr(np.eye(2)).R, np.eye(2)),
    ],
    "lstsq": [
        (lambda: gc.lstsq(np.eye(2), M).solution, M),
        (lambda: gc.lstsq(np.eye(2)[:1], M[:1]).solution, np.concatenate([M[:1], M[:1] * 0])),
        (lambda: gc.lstsq(np.eye(2), M).residuals, np.zeros(3)),
    ],
}
