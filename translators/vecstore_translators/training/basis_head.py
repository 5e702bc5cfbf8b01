"""BT²: a head for the new model whose output contains the old space and loses nothing.

The closed form for two models that are both given is
:class:`vecstore_translators.BasisTransformation`; this is its learnable counterpart, for a
backbone that is still being trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, final

import numpy as np

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.errors import DimensionMismatchError, InvalidArgumentError
from vecstore_translators.training.torch_import import require_torch
from vecstore_translators.validation import check_at_least

if TYPE_CHECKING:
    import torch


@final
class BasisTransformationHead:
    """J(f) = [f, f E] Q: the features and `extra_dims` more, rotated by an orthonormal Q.

    The first `old_dim` axes of J are trained to agree with the old model. Q is a matrix
    exponential and stays orthonormal at every step, so f can be read off J exactly: new
    knowledge has somewhere to go and cannot be overwritten. Old vectors are compared with J
    zero-padded.

    Parameters
    ----------
    feature_dim : int
        Dimension d of the new backbone's features.
    old_dim : int
        Dimension of the old space, at most ``feature_dim + extra_dims``.
    extra_dims : int
        Columns of E: room for what the old model knew and the new one arranges otherwise.
        0 leaves a pure rotation, under which all inner products of features stay as they are.
    seed : int
        Seed of the start of E; Q starts as the identity.

    Raises
    ------
    MissingDependencyError
        torch, the extra ``train``, is not installed.
    DimensionMismatchError
        The old space does not fit.

    References
    ----------
    Zhou et al., "BT²: Backward-compatible Training with Basis Transformation", ICCV 2023,
    section 4. Their two successive transformations are one product of orthonormal matrices
    here.
    """

    def __init__(
        self, feature_dim: int, old_dim: int, *, extra_dims: int = 0, seed: int = 0
    ) -> None:
        check_at_least(feature_dim, 1, name="feature_dim")
        check_at_least(old_dim, 1, name="old_dim")
        check_at_least(extra_dims, 0, name="extra_dims")
        joint_dim = feature_dim + extra_dims
        if old_dim > joint_dim:
            raise DimensionMismatchError(
                f"expected an old space of at most {joint_dim} dimensions, the features' and the "
                f"extra ones, got {old_dim}; give at least {old_dim - feature_dim} extra_dims"
            )
        library = require_torch()
        generator = library.Generator().manual_seed(seed)
        self.feature_dim, self.old_dim, self.joint_dim = feature_dim, old_dim, joint_dim
        self.expansion: torch.nn.Parameter = library.nn.Parameter(
            library.randn(feature_dim, extra_dims, generator=generator) / feature_dim
        )
        rotation = library.nn.Linear(joint_dim, joint_dim, bias=False)
        with library.no_grad():
            rotation.weight.copy_(library.eye(joint_dim))
        self._rotation: torch.nn.Module = library.nn.utils.parametrizations.orthogonal(
            rotation, orthogonal_map="matrix_exp"
        )

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Yield what an optimiser has to train."""
        yield self.expansion
        yield from self._rotation.parameters()

    def to(self, device: str | torch.device) -> BasisTransformationHead:
        """Move the head to a device, in place, and return it."""
        self.expansion.data = self.expansion.data.to(device)
        self._rotation.to(device)
        return self

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return J of features (n, d): tensor of shape (n, joint_dim)."""
        library = require_torch()
        wide = library.cat([features, features @ self.expansion], dim=1)
        joint: torch.Tensor = self._rotation(wide)
        return joint

    def old_part(self, joint: torch.Tensor) -> torch.Tensor:
        """Return the axes that speak the old model's language: (n, old_dim)."""
        return joint[:, : self.old_dim]

    def new_part(self, joint: torch.Tensor) -> torch.Tensor:
        """Return the features that went in, read off J: (n, d)."""
        rotation = cast("torch.Tensor", self._rotation.weight)
        return (joint @ rotation)[:, : self.feature_dim]

    def translator(self) -> AffineTranslator:
        """Return J as a translator from features to the joint space, to store and to deploy."""
        library = require_torch()
        with library.no_grad():
            weight = self(library.eye(self.feature_dim, device=self.expansion.device))
        return AffineTranslator(
            weight.cpu().numpy(),
            np.zeros(self.joint_dim, dtype=np.float32),
            "basis_transformation_head",
            {"old_dim": self.old_dim, "extra_dims": self.joint_dim - self.feature_dim},
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BasisTransformationLoss:
    """The terms of the BT² loss, each a scalar tensor; smaller is better.

    Parameters
    ----------
    new_matching : torch.Tensor
        1 - mean cosine between the head's features and those of a reference new model.
    influence : torch.Tensor
        Cross-entropy of the old part under the old model's classifier (BCT's influence loss).
    old_matching : torch.Tensor
        1 - mean cosine between the old part and the old model's vectors.
    total : torch.Tensor
        Their weighted sum; add the new model's own training loss to it.
    """

    new_matching: torch.Tensor
    influence: torch.Tensor
    old_matching: torch.Tensor
    total: torch.Tensor


def basis_transformation_loss(
    head: BasisTransformationHead,
    joint: torch.Tensor,
    *,
    old: torch.Tensor,
    reference: torch.Tensor,
    prototypes: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
    temperature: float = 0.05,
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> BasisTransformationLoss:
    """Return the BT² loss of a batch.

    Parameters
    ----------
    head : BasisTransformationHead
    joint : torch.Tensor of shape (n, joint_dim)
        The head's output.
    old : torch.Tensor of shape (n, old_dim)
        The old model's vectors of the same items.
    reference : torch.Tensor of shape (n, feature_dim)
        Vectors of the same items by a new model trained without regard to the old one.
    prototypes : torch.Tensor of shape (c, old_dim), optional
        The old model's classifier, or the mean old vectors of c classes. Without it every
        item of the batch is a class of its own, with its old vector for a prototype.
    labels : torch.Tensor of shape (n,), int64, optional
        Classes of the items; expected together with `prototypes`.
    temperature : float
        Divides the cosines of the influence term.
    weights : tuple of float
        λ1, λ2, λ3 of new matching, influence and old matching.

    Raises
    ------
    InvalidArgumentError
        Prototypes without labels or the reverse, or a temperature that is not positive.

    References
    ----------
    Zhou et al. 2023, section 4 (the two matching losses); Shen et al., "Towards
    backward-compatible representation learning", CVPR 2020, eq. 5 (influence loss).
    """
    if (prototypes is None) != (labels is None):
        raise InvalidArgumentError("expected prototypes and labels together, got one of them")
    if not temperature > 0:
        raise InvalidArgumentError(f"temperature: expected a positive number, got {temperature}")
    library = require_torch()
    functional = library.nn.functional
    part = head.old_part(joint)
    if prototypes is None:
        prototypes, labels = old, library.arange(len(old), device=old.device)
    cosines = functional.normalize(part, dim=1) @ functional.normalize(prototypes, dim=1).T
    new_matching = 1 - functional.cosine_similarity(head.new_part(joint), reference).mean()
    influence = functional.cross_entropy(cosines / temperature, labels)
    old_matching = 1 - functional.cosine_similarity(part, old).mean()
    terms = (new_matching, influence, old_matching)
    total = sum(weight * term for weight, term in zip(weights, terms, strict=True))
    return BasisTransformationLoss(
        new_matching=new_matching, influence=influence, old_matching=old_matching, total=total
    )
