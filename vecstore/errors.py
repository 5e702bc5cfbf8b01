"""Every error vecstore raises on purpose, in one tree.

::

    VecstoreError
    ├── NotFoundError                 collection, space, item, translator, snapshot
    ├── AlreadyExistsError
    ├── InvalidArgumentError          a name, a count, a choice, duplicate ids
    ├── InvalidMetadataError          values that do not fit the collection's columns
    ├── InvalidVectorsError
    │   ├── DimensionMismatchError
    │   ├── NonFiniteError
    │   ├── TooFewPairsError
    │   └── UnpairedRowsError
    ├── SpaceMismatchError            wrong space or fingerprint, also when dimensions agree
    ├── NoRouteError                  no translator joins the spaces; says how to get one
    ├── CouldNotAlignError            two spaces without pairs: no map could be trusted
    ├── InvalidFilterError
    ├── CommitConflictError           another writer was first; safe to retry
    ├── CorruptFileError
    ├── SchemaVersionError            the store was written by another schema version
    ├── StorageError                  the disk or database refused (full, read-only, locked)
    ├── UnsupportedOperationError
    ├── MissingDependencyError        names the extra to install
    ├── BuildCancelledError           an index build was cancelled; nothing was registered
    ├── EncoderError                  an embedding model failed; safe to retry
    └── IngestError                   names file, row and column, and what was committed
"""

from vecstore_translators.errors import (
    CorruptFileError,
    CouldNotAlignError,
    DimensionMismatchError,
    InvalidArgumentError,
    InvalidVectorsError,
    MissingDependencyError,
    NonFiniteError,
    TooFewPairsError,
    UnpairedRowsError,
    UnsupportedOperationError,
    VecstoreError,
)

__all__ = [
    "AlreadyExistsError",
    "BuildCancelledError",
    "CommitConflictError",
    "CorruptFileError",
    "CouldNotAlignError",
    "DimensionMismatchError",
    "EncoderError",
    "IngestError",
    "InvalidArgumentError",
    "InvalidFilterError",
    "InvalidMetadataError",
    "InvalidVectorsError",
    "MissingDependencyError",
    "NoRouteError",
    "NonFiniteError",
    "NotFoundError",
    "SchemaVersionError",
    "SpaceMismatchError",
    "StorageError",
    "TooFewPairsError",
    "UnpairedRowsError",
    "UnsupportedOperationError",
    "VecstoreError",
]


class NotFoundError(VecstoreError, LookupError):
    """A collection, space, item, translator or snapshot does not exist."""


class AlreadyExistsError(VecstoreError):
    """The name, or the vector of this item in this space, is taken."""


class BuildCancelledError(VecstoreError):
    """An index build was cancelled before the index was registered."""


class InvalidMetadataError(VecstoreError, ValueError):
    """Metadata does not fit the collection's columns and cannot be widened safely."""


class SpaceMismatchError(VecstoreError):
    """Vectors, an encoder or a translator belong to another embedding space."""


class NoRouteError(VecstoreError, LookupError):
    """No translator joins two spaces."""


class InvalidFilterError(VecstoreError, ValueError):
    """A ``where`` is not a predicate over the collection's columns."""


class CommitConflictError(VecstoreError):
    """Another writer committed first; nothing of this write is visible; retry."""


class SchemaVersionError(VecstoreError):
    """The store was written with a schema this version cannot read."""


class StorageError(VecstoreError):
    """The disk or the database refused: full, read-only, locked or unreachable."""


class EncoderError(VecstoreError):
    """An encoder could not embed now, as far as it tried again; a later try may succeed."""


class IngestError(VecstoreError):
    """A file could not be ingested; names file, row and column, and what is committed."""
