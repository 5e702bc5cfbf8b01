"""Errors that arrays alone can raise, and the root of every vecstore error.

The root lives in the lowest package so that one ``except VecstoreError`` catches
everything; :mod:`vecstore.errors` draws the whole tree and re-exports these.
"""


class VecstoreError(Exception):
    """Root of every error that vecstore raises on purpose."""


class InvalidArgumentError(VecstoreError, ValueError):
    """An argument is outside its domain: a name, a count, a choice, duplicate ids."""


class InvalidVectorsError(VecstoreError, ValueError):
    """Vectors that cannot be accepted: wrong shape, dtype, dimension or values."""


class DimensionMismatchError(InvalidVectorsError):
    """Vectors have another dimension than their space or translator expects."""


class NonFiniteError(InvalidVectorsError):
    """Vectors contain NaN or infinity, or a zero vector where a direction is needed."""


class UnpairedRowsError(InvalidVectorsError):
    """Two arrays that must be row-aligned differ in their number of rows."""


class UnsupportedOperationError(VecstoreError):
    """The object does not have the capability that was asked of it."""


class MissingDependencyError(VecstoreError, ImportError):
    """An optional library is absent; the message names the extra to install."""


class CorruptFileError(VecstoreError):
    """Stored bytes do not match their checksum or cannot be what they claim to be."""


class TooFewPairsError(InvalidVectorsError):
    """Fewer pairs than the fit needs to be determined or to be judged."""


class CouldNotAlignError(VecstoreError):
    """Two spaces without common items have no map between them that can be trusted."""
