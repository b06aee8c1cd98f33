"""Losses and functions of several vectors in the table of empty_and_identity_calls.py."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradc as gc

Z, ZB = np.zeros((0,)), np.zeros((2, 0, 3))
M = np.random.default_rng(23).normal(size=(2, 3))
E, V = np.zeros((0, 3)), np.array([3.0, 1.0, 2.0])
NONE_OF = np.zeros((0,), int)
NAN = float("nan")

OF_LOSSES: dict[str, list[tuple[Any, Any]]] = {
    "cross_entropy": [
        (lambda: gc.cross_entropy(E, NONE_OF, reduction="none"), Z),
        (lambda: gc.cross_entropy(E, NONE_OF), np.array(NAN)),
        (lambda: gc.cross_entropy(E, NONE_OF, reduction="sum"), np.array(0.0)),
        (lambda: gc.cross_entropy(V, 0), -np.log(np.exp(V[0]) / np.exp(V).sum())),
    ],
    "nll_loss": [
        (lambda: gc.nll_loss(E, NONE_OF, reduction="none"), Z),
        (lambda: gc.nll_loss(E, NONE_OF), np.array(NAN)),
        (lambda: gc.nll_loss(V, 1), np.array(-1.0)),
    ],
    **{
        name: [
            (lambda n=name: getattr(gc, n)(Z, Z), np.array(NAN)),
            (lambda n=name: getattr(gc, n)(Z, Z, reduction="sum"), np.array(0.0)),
            (lambda n=name: getattr(gc, n)(ZB, ZB, reduction="none"), ZB),
        ]
        for name in (
            "binary_cross_entropy",
            "binary_cross_entropy_with_logits",
            "mse_loss",
            "l1_loss",
            "smooth_l1_loss",
            "huber_loss",
            "kl_div",
            "hinge_embedding_loss",
            "poisson_nll_loss",
            "soft_margin_loss",
        )
    },
    "gaussian_nll_loss": [
        (lambda: gc.gaussian_nll_loss(Z, Z, Z), np.array(NAN)),
        (lambda: gc.gaussian_nll_loss(Z, Z, Z, reduction="none"), Z),
    ],
    "multi_margin_loss": [
        (lambda: gc.multi_margin_loss(E, NONE_OF, reduction="none"), Z),
        (lambda: gc.multi_margin_loss(E, NONE_OF), np.array(NAN)),
        (lambda: gc.multi_margin_loss(V, 0), np.array(0.0)),
        (lambda: gc.multi_margin_loss([0.5], 0), np.array(0.0)),
    ],
    "multilabel_margin_loss": [
        (lambda: gc.multilabel_margin_loss(E, E.astype(int), "none"), Z),
        (lambda: gc.multilabel_margin_loss(V, [-1, 0, 0]), np.array(0.0)),
        (lambda: gc.multilabel_margin_loss(V, [2, 1, 0]), np.array(0.0)),
    ],
    "multilabel_soft_margin_loss": [
        (lambda: gc.multilabel_soft_margin_loss(E, E, reduction="none"), Z),
        (lambda: gc.multilabel_soft_margin_loss(0 * V, V), np.log(2.0)),
    ],
    **{
        name: [
            (lambda n=name: getattr(gc, n)(E, E, E), np.array(NAN)),
            (lambda n=name: getattr(gc, n)(E, E, E, reduction="sum"), np.array(0.0)),
        ]
        for name in (
            "margin_ranking_loss",
            "triplet_margin_loss",
            "triplet_margin_with_distance_loss",
        )
    },
    "ctc_loss": [
        (lambda: gc.ctc_loss(M[:, None][:, :0], E.astype(int), NONE_OF, NONE_OF), np.array(NAN)),
        (lambda: gc.ctc_loss(M, NONE_OF, 2, 0), -M[:, 0].sum()),
        (lambda: gc.ctc_loss(M[:1], [2], 1, 1), -M[0, 2]),
    ],
    "cosine_embedding_loss": [
        (lambda: gc.cosine_embedding_loss(E, E, NONE_OF, reduction="none"), Z),
        (lambda: gc.cosine_embedding_loss(V, V, 1), np.array(0.0)),
    ],
    "pairwise_distance": [
        (lambda: gc.pairwise_distance(E, E), Z),
        (lambda: gc.pairwise_distance(M[:, :0], M[:, :0]), np.zeros(2)),
        (lambda: gc.pairwise_distance(M, M, eps=0.0, keepdims=True), np.zeros((2, 1))),
    ],
    "bilinear": [
        (lambda: gc.bilinear(E, E, np.ones((4, 3, 3))), np.zeros((0, 4))),
        (lambda: gc.bilinear(M, M, np.zeros((0, 3, 3))), np.zeros((2, 0))),
        (lambda: gc.bilinear(M, np.ones((2, 1)), np.eye(3)[:, :, None]), M),
    ],
    "embedding_bag": [
        (lambda: gc.embedding_bag(E.astype(int), M), E),
        (lambda: gc.embedding_bag(np.zeros((4, 0), int), M), np.zeros((4, 3))),
        (lambda: gc.embedding_bag(np.zeros((4, 0), int), M, mode="max"), np.zeros((4, 3))),
        (lambda: gc.embedding_bag(NONE_OF, M, [0, 0]), np.zeros((2, 3))),
        (lambda: gc.embedding_bag(NONE_OF, M, NONE_OF), E),
        (lambda: gc.embedding_bag([[0], [1]], M), M),
        (lambda: gc.embedding_bag([0, 1], M, [0, 1], "max"), M),
    ],
    "threshold": [
        (lambda: gc.threshold(Z, 0.5, 1.0), Z),
        (lambda: gc.threshold(V, -1.0, 7.0), V),
    ],
    "gumbel_softmax": [
        (lambda: gc.gumbel_softmax(Z), Z),
        (lambda: gc.gumbel_softmax(E), E),
        (lambda: gc.gumbel_softmax(M[:, :1], hard=True), np.ones((2, 1))),
    ],
    "feature_alpha_dropout": [
        (lambda: gc.feature_alpha_dropout(E), E),
        (lambda: gc.feature_alpha_dropout(M, 0.0, True), M),
        (lambda: gc.feature_alpha_dropout(M, 1.0, True), 0 * M),
    ],
}
