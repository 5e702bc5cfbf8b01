"""Stationary representations: a classifier fixed to the corners of a regular simplex.

Classes keep their directions whatever is trained later, so generations that were trained
apart point the same way and can be compared without any translation. Corners for classes yet
to come are set aside from the beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vecstore_translators.errors import InvalidArgumentError
from vecstore_translators.training.torch_import import require_torch
from vecstore_translators.validation import check_at_least

if TYPE_CHECKING:
    import torch


def simplex_vertices(classes: int) -> NDArray[np.float64]:
    """Return the corners of the regular simplex of that many classes.

    Parameters
    ----------
    classes : int
        At least 2. Count classes to come as well: another number has other corners.

    Returns
    -------
    ndarray of shape (classes, classes - 1), float64
        Unit rows; any two have cosine -1 / (classes - 1), the least that so many can have.

    References
    ----------
    Pernici et al., "Regular polytope networks", IEEE TNNLS 2022, eq. 9 (d-Simplex).

    Examples
    --------
    >>> corners = simplex_vertices(3)
    >>> (corners @ corners.T).round(6).tolist()
    [[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5], [-0.5, -0.5, 1.0]]
    """
    check_at_least(classes, 2, name="classes")
    d = classes - 1
    # d coordinate axes, and the one further point that is as far from each as they are apart.
    corners = np.vstack([np.eye(d), np.full(d, (1 - np.sqrt(d + 1)) / d)])
    corners -= corners.mean(axis=0)
    unit: NDArray[np.float64] = corners / np.linalg.norm(corners, axis=1, keepdims=True)
    return unit


def simplex_classifier(classes: int) -> torch.nn.Linear:
    """Return a linear layer from classes - 1 features to logits, frozen at the simplex corners.

    Raises
    ------
    MissingDependencyError
        torch, the extra ``train``, is not installed.
    """
    library = require_torch()
    corners = simplex_vertices(classes)
    layer: torch.nn.Linear = library.nn.Linear(classes - 1, classes, bias=False)
    with library.no_grad():
        layer.weight.copy_(library.from_numpy(corners))
    return layer.requires_grad_(False)


def higher_order_compatibility_loss(
    new: torch.Tensor, old: torch.Tensor, labels: torch.Tensor, *, scale: float = 10.0
) -> torch.Tensor:
    """Return the contrastive loss that aligns new features with the old ones of the same items.

    Per item i, -μ ⟨old_i, new_i⟩ + log Σ_j exp(μ ⟨old_i, new_j⟩) over the items j of other
    classes, on unit vectors; the mean over the items.

    Parameters
    ----------
    new, old : torch.Tensor of shape (n, d)
        Features of the same items by the model in training and by the previous one. They are
        normalised here. No gradient flows into `old`.
    labels : torch.Tensor of shape (n,), int64
    scale : float
        μ, the inverse temperature.

    Raises
    ------
    InvalidArgumentError
        All items are of one class, so that there is nothing to contrast.

    References
    ----------
    Biondi et al., "Stationary Representations: Optimally Approximating Compatibility and
    Implications for Improved Model Replacements", CVPR 2024, eq. 4.
    """
    library = require_torch()
    functional = library.nn.functional
    same = labels[:, None] == labels[None, :]
    if bool(same.all()):
        raise InvalidArgumentError(
            "labels: expected items of at least two classes in a batch, got one; draw batches "
            "across classes"
        )
    similarity = scale * functional.normalize(old.detach(), dim=1) @ functional.normalize(new).T
    others = similarity.masked_fill(same, -float("inf")).logsumexp(dim=1)
    loss: torch.Tensor = (others - similarity.diagonal()).mean()
    return loss


def stationary_loss(
    logits: torch.Tensor,
    new: torch.Tensor,
    old: torch.Tensor,
    labels: torch.Tensor,
    *,
    alignment: float = 0.5,
    scale: float = 10.0,
) -> torch.Tensor:
    """Return (1 - α) cross-entropy + α higher-order compatibility.

    Parameters
    ----------
    logits : torch.Tensor of shape (n, classes)
        From :func:`simplex_classifier`, usually of scaled unit features.
    new, old : torch.Tensor of shape (n, d)
    labels : torch.Tensor of shape (n,), int64
    alignment : float
        α in [0, 1]: 0 is plain training under the fixed classifier.
    scale : float
        μ of :func:`higher_order_compatibility_loss`.

    Raises
    ------
    InvalidArgumentError

    References
    ----------
    Biondi et al. 2024, section 4 (convex combination of cross-entropy and the loss of eq. 4).
    """
    if not 0 <= alignment <= 1:
        raise InvalidArgumentError(f"alignment: expected a share in [0, 1], got {alignment}")
    library = require_torch()
    aligned = higher_order_compatibility_loss(new, old, labels, scale=scale)
    classified: torch.Tensor = library.nn.functional.cross_entropy(logits, labels)
    return (1 - alignment) * classified + alignment * aligned
