"""Exit codes: which error of the library ends the command with which number."""

from __future__ import annotations

from typing import Final, final

import click

from vecstore.errors import (
    AlreadyExistsError,
    CommitConflictError,
    CorruptFileError,
    CouldNotAlignError,
    EncoderError,
    IngestError,
    InvalidArgumentError,
    InvalidFilterError,
    InvalidMetadataError,
    InvalidVectorsError,
    NoRouteError,
    NotFoundError,
    SchemaVersionError,
    SpaceMismatchError,
    StorageError,
    VecstoreError,
)

__all__ = [
    "BELOW_RETENTION",
    "BROKEN_PIPE",
    "EXIT_CODES",
    "INTERRUPTED",
    "UNHEALTHY",
    "Declined",
    "exit_code",
]

BELOW_RETENTION: Final = 8
UNHEALTHY: Final = 9
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

EXIT_CODES: Final[dict[int, str]] = {
    0: "done",
    1: "failed for another reason, or declined at the prompt",
    2: "wrong usage of the command line",
    3: "not found: store, collection, space, item, version, or a route between spaces",
    4: "bad input: vectors, metadata, a filter, a file, the wrong space",
    5: "conflict: the name is taken, or another writer was first (safe to retry)",
    6: "storage: damaged file, other schema version, disk or database refused",
    7: "an embedding model failed or could not be reached (safe to retry)",
    BELOW_RETENTION: "upgrade assess: what it recommends reaches less than --min-retention",
    UNHEALTHY: "doctor: an error or a warning is left",
    INTERRUPTED: "interrupted by Ctrl-C; what was committed stays",
    BROKEN_PIPE: "the reader of the output went away",
}

_CODES: Final[dict[type[VecstoreError], int]] = {
    NotFoundError: 3,
    NoRouteError: 3,
    CouldNotAlignError: 3,
    InvalidArgumentError: 4,
    InvalidMetadataError: 4,
    InvalidVectorsError: 4,
    InvalidFilterError: 4,
    SpaceMismatchError: 4,
    IngestError: 4,
    AlreadyExistsError: 5,
    CommitConflictError: 5,
    CorruptFileError: 6,
    SchemaVersionError: 6,
    StorageError: 6,
    EncoderError: 7,
}


def exit_code(error: VecstoreError) -> int:
    """Return the exit code of an error: that of its nearest class in the table, else 1."""
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), 1)


@final
class Declined(click.ClickException):
    """The person at the prompt said no."""

    exit_code = 1
