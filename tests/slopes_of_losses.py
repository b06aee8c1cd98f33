"""Values and slopes of the losses at their guards; see slopes_table.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from slopes_case import BIG, INF, LN_2, NAN, PI, S20, Case, loss

LOSSES: Mapping[str, Sequence[Case]] = {
    "mse_loss": [loss([INF, 0.0], [0.0, 0.0], value=[INF, 0], slopes=([INF, 0], [-INF, 0]))],
    "l1_loss": [
        loss([INF, 0.0, -INF], [0.0] * 3, value=[INF, 0, INF], slopes=([1, 0, -1], [-1, 0, 1]))
    ],
    "smooth_l1_loss": [
        loss([INF, 0.0, 1.0, -1.0, -INF], [0.0] * 5, value=[INF, 0, 0.5, 0.5, INF],
             slopes=([1, 0, 1, -1, -1], [-1, 0, -1, 1, 1])),
        loss([INF, 0.0], [0.0] * 2, value=[INF, 0], slopes=([1, 0], None), beta=0.0),
    ],
    "huber_loss": [
        loss([INF, 0.0, 2.0, -2.0, -INF], [0.0] * 5, value=[INF, 0, 2, 2, INF],
             slopes=([2, 0, 2, -2, -2], [-2, 0, -2, 2, 2]), delta=2.0),
        loss([4.0, 0.0], [0.0, 0.0], value=[8, 0], slopes=([4, 0], None), delta=INF),
    ],
    "binary_cross_entropy": [
        Case(([0.0, 0.0, 1.0, 1.0, 0.25], [0.0, 1.0, 0.0, 1.0, 1.0]),
             [0, 100, 100, 0, 2 * LN_2],
             ([0, -1e12, 1e12, 0, -4], [100, 100, -100, -100, math.log(3.0)]),
             {"reduction": "none"}),
        loss([0.0, 1.0], [0.0, 1.0], value=[0, 0], slopes=([0, 0], None)),
        Case(([0.0, 1.0], [0.0, 1.0]), 0.0, ([0, 0], None)),
    ],
    "binary_cross_entropy_with_logits": [
        loss([BIG, -BIG, 0.0, BIG, -BIG], [1.0, 0.0, 0.5, 0.0, 1.0],
             value=[0, 0, LN_2, BIG, BIG],
             slopes=([0, 0, 0, 1, -1], [-BIG, BIG, 0, -BIG, BIG])),
        loss([BIG, -BIG, 0.0], [1.0, 0.0, 1.0], value=[0, 0, 3 * LN_2],
             slopes=([0, 0, -1.5], [-BIG, 3 * BIG, 2 * LN_2]), pos_weight=3.0),
        # PyTorch's value is NaN except at the third.
        loss([INF, -INF, INF, -INF], [1.0, 0.0, 0.0, 1.0], value=[0, 0, INF, INF],
             slopes=([0, 0, 1, -1], None)),
        Case(([-20.0, 20.0], [0.0, 1.0]), 2.0611536203e-09,
             ([0.5 * (1 - S20), -0.5 * (1 - S20)], None)),
    ],
    "kl_div": [
        # In a target of 0 PyTorch's slope is NaN; with a score of -inf its value is too.
        loss([-INF, -1.0], [0.0, 0.5], value=[0, 0.5 * (1 - LN_2)],
             slopes=([0, -0.5], [0, 2 - LN_2])),
        loss([-1.0, -2.0], [-INF, 0.0], value=[0, 2], slopes=([0, -1], [0, 3]), log_target=True),
        loss([-1.0], [-1.0], value=[NAN], slopes=(None, None)),
    ],
    "hinge_embedding_loss": [
        loss([1.0, 1.0, 0.5, 2.0, INF], [-1, 1, -1, -1, -1], value=[0, 1, 0.5, 0, 0],
             slopes=([-1, 1, -1, 0, 0], None)),
        loss([0.25, 2.0], [0, 0], value=[1.0, 2.0], slopes=([0, 1], None)),
    ],
    "poisson_nll_loss": [
        loss([0.0, 1.0, -BIG], [1.0, 0.0, 2.0], value=[1, math.e, 2 * BIG],
             slopes=([0, math.e, -2], [0, -1, BIG])),
        loss([0.0, 2.0], [0.0, 1.0], value=[0, 2 - math.log(3.0)],
             slopes=([1, 2 / 3], None), log_input=False, eps=1.0),
        # Stirling's term counts above 1.
        loss([0.0, 0.0], [1.0, 2.0], value=[1, 2 * LN_2 - 1 + 0.5 * math.log(4 * PI)],
             slopes=([0, -1], [0, LN_2 + 0.25]), full=True),
    ],
    "ctc_loss": [
        # One step, one class: that logarithm. A target too long has no alignment.
        Case(([[[-1.0, -2.0]]], [[1]], [1], [1]), 2.0, ([[[0, -1]]], None, None, None)),
        Case(([[[-1.0, -2.0]]], [[1, 1]], [1], [2]), INF, ([[[0, 0]]], None, None, None)),
        Case(([[[-INF, -INF]]], [[1]], [1], [1]), 0.0, ([[[0, 0]]], None, None, None),
             {"zero_infinity": True}),
        # 1-1, 1-0 or 0-1.
        Case(([[[0.0, 0.0]], [[0.0, 0.0]]], [[1]], [2], [1]), -math.log(3.0),
             ([[[-1 / 3, -2 / 3]], [[-1 / 3, -2 / 3]]], None, None, None)),
    ],
    "margin_ranking_loss": [
        loss([1.0, 0.0, INF, 0.0], [0.0, 1.0, 0.0, INF], [1, 1, 1, 1],
             value=[0, 2, 0, INF], slopes=([-1, -1, 0, -1], [1, 1, 0, 1], None), margin=1.0),
    ],
    "cosine_embedding_loss": [
        # Vectors of nothing are at right angles to everything.
        loss([[0.0, 0.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 4.0]], [-1, 1], value=[0, 1],
             slopes=([[0, 0], [0, -1 / 3]], [[0, 0], [-0.25, 0]], None)),
        loss([[3.0, 0.0]], [[0.0, 4.0]], [0], value=[0], slopes=([[0, 0]], [[0, 0]], None)),
    ],
    "triplet_margin_loss": [
        loss([[0.0, 0.0]], [[3.0, 4.0]], [[6.0, 0.0]], value=[0],
             slopes=([[0.4, -0.8]], [[0.6, 0.8]], [[-1, 0]]), eps=0.0),
        loss([[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 2.0]], value=[1],
             slopes=([[0, 1]], [[0, 0]], [[0, -1]]), eps=0.0, margin=3.0),
    ],
    "triplet_margin_with_distance_loss": [
        loss([[0.0, 0.0]], [[3.0, 4.0]], [[9.0, 0.0]], value=[0],
             slopes=([[0, 0]], [[0, 0]], [[0, 0]])),
    ],
    "multi_margin_loss": [
        loss([[1.0, 0.0, 3.0]], [0], value=[1], slopes=([[-1 / 3, 0, 1 / 3]], None)),
        loss([[1.0, 0.0, INF]], [0], value=[INF], slopes=([[-1 / 3, 0, 1 / 3]], None)),
        loss([[BIG, 0.0]], [0], value=[0], slopes=([[0, 0]], None), p=2),
    ],
    "multilabel_margin_loss": [
        loss([[1.0, 0.0, 3.0]], [[0, -1, 2]], value=[1], slopes=([[-1 / 3, 0, 1 / 3]], None)),
        loss([[1.0, INF]], [[-1, 0]], value=[0], slopes=([[0, 0]], None)),
    ],
    "soft_margin_loss": [
        # PyTorch's value and slope overflow at -BIG.
        loss([0.0, BIG, -BIG], [1.0, 1.0, 1.0], value=[LN_2, 0, BIG], slopes=([-0.5, 0, -1], None)),
    ],
    "multilabel_soft_margin_loss": [
        loss([[BIG, -BIG], [BIG, 0.0]], [[1.0, 0.0], [0.0, 1.0]],
             value=[0, 0.5 * (BIG + LN_2)], slopes=([[0, 0], [0.5, -0.25]], None)),
    ],
    "gaussian_nll_loss": [
        loss([1.0, 2.0], [1.0, 0.0], [0.0, 4.0],
             value=[0.5 * math.log(1e-6), 0.5 * (math.log(4.0) + 1)],
             slopes=([0, 0.5], [0, -0.5], None)),
        Case(([1.0, 2.0], [1.0, 0.0], [0.0, INF]), [0.5 * math.log(1e-6), INF],
             (None, None, [5e5, 0]), {"reduction": "none"}),
    ],
    "cross_entropy": [
        Case(([[0.0, -INF, 0.0]], [0]), LN_2, ([[-0.5, 0, 0.5]], None)),
        Case(([[BIG, -BIG]], [1]), 2 * BIG, ([[1, -1]], None)),
        Case(([[0.0, -INF]], [1]), INF, ([[1, -1]], None)),
        # With 0 * -inf PyTorch's value is NaN.
        Case(([[0.0, -INF, 0.0]], [[0.5, 0.0, 0.5]]), LN_2, ([[0, 0, 0]], [[LN_2, 0, LN_2]])),
        # A batch of ignored rows: the mean of nothing, which moves nothing.
        Case(([[0.0, 1.0]], [-100]), NAN, ([[0, 0]], None)),
        Case(([[-INF, -INF]], [0]), NAN, ([[NAN, NAN]], None)),
    ],
    "nll_loss": [
        Case(([[-INF, -1.0]], [1]), 1.0, ([[0, -1]], None)),
        Case(([[-INF, -1.0]], [0]), INF, ([[-1, 0]], None)),
        Case(([[-1.0, -1.0]], [-100]), NAN, ([[0, 0]], None)),
    ],
}  # fmt: skip
