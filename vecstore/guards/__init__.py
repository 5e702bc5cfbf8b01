"""Guards: vectors that look like another space's do not enter unnoticed."""

from vecstore.guards.guard import Guard, Guarding, SuspiciousVectorsWarning
from vecstore.guards.purity import SpacePurity, purity
from vecstore.guards.signatures import Signatures

__all__ = [
    "Guard",
    "Guarding",
    "Signatures",
    "SpacePurity",
    "SuspiciousVectorsWarning",
    "purity",
]
