"""How well a number tells two kinds of cases apart, such as wrong hits from right ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from vecstore_translators.errors import InvalidArgumentError, UnpairedRowsError


def auroc(doubts: ArrayLike, wrong: ArrayLike) -> float:
    """Return the chance that a wrong case has a larger doubt than a right one.

    Parameters
    ----------
    doubts : array_like of any shape
        Larger means less trust.
    wrong : array_like of the same shape, bool
        Which cases are wrong.

    Returns
    -------
    float
        0.5 for a doubt that says nothing, 1 for one that separates them; ties count half.

    Raises
    ------
    UnpairedRowsError
        The shapes differ.
    InvalidArgumentError
        There are no wrong cases, or no right ones, or a doubt is NaN.

    References
    ----------
    Hanley and McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", 1982: the Mann-Whitney statistic over n₁ n₀.

    Examples
    --------
    >>> auroc([0.9, 0.2, 0.4], [True, False, False])
    1.0
    """
    values, labels = np.asarray(doubts, dtype=np.float64), np.asarray(wrong, dtype=bool)
    if values.shape != labels.shape:
        raise UnpairedRowsError(
            f"expected one doubt per case, got shapes {values.shape} and {labels.shape}"
        )
    bad, good = values[labels], np.sort(values[~labels])
    if not len(bad) or not len(good) or np.isnan(values).any():
        raise InvalidArgumentError(
            f"expected wrong and right cases without NaN, got {len(bad)} and {len(good)}"
        )
    below = np.searchsorted(good, bad, side="left")
    through = np.searchsorted(good, bad, side="right")
    return float((below + through).mean() / (2 * len(good)))
