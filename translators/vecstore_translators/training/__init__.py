"""For those who train the new model: pieces that make it compatible with the old one.

Translators repair a model swap afterwards. Whoever still trains the new model can avoid most
of the damage: with a head whose output contains the old space
(:mod:`~vecstore_translators.training.basis_head`), or with a classifier that never moves, so
that every generation learns the same directions
(:mod:`~vecstore_translators.training.simplex`). Needs the extra ``train``; importing does not.
"""

from vecstore_translators.training.basis_head import (
    BasisTransformationHead,
    BasisTransformationLoss,
    basis_transformation_loss,
)
from vecstore_translators.training.simplex import (
    higher_order_compatibility_loss,
    simplex_classifier,
    simplex_vertices,
    stationary_loss,
)

__all__ = [
    "BasisTransformationHead",
    "BasisTransformationLoss",
    "basis_transformation_loss",
    "higher_order_compatibility_loss",
    "simplex_classifier",
    "simplex_vertices",
    "stationary_loss",
]
