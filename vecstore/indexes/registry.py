"""The registry of index kinds: one line each, imported when first asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from vecstore.errors import InvalidArgumentError, UnsupportedOperationError
from vecstore.indexes.base import Index
from vecstore.indexes.files import read_header

__all__ = ["get_index", "index_kinds", "read_index"]

_KINDS = {
    "flat": "vecstore.indexes.flat:FlatIndex",
    "hnsw": "vecstore.indexes.hnsw:HnswIndex",
    "ivf_flat": "vecstore.indexes.ivf_flat:IvfFlatIndex",
    "ivf_pq": "vecstore.indexes.ivf_pq:IvfPqIndex",
    "ivf_rabitq": "vecstore.indexes.ivf_rabitq:IvfRabitqIndex",
    "sq": "vecstore.indexes.sq:SqIndex",
    "binary": "vecstore.indexes.binary:BinaryIndex",
    "factory": "vecstore.indexes.factory:FactoryIndex",
    "gpu_flat": "vecstore.indexes.gpu_flat:GpuFlatIndex",
}


def index_kinds() -> tuple[str, ...]:
    """Return the names of all kinds."""
    return tuple(_KINDS)


def get_index(kind: str) -> type[Index[Any]]:
    """Return the class of a kind.

    Raises
    ------
    InvalidArgumentError
        There is no such kind.
    """
    if kind not in _KINDS:
        raise InvalidArgumentError(f"no index kind {kind!r}; there are {', '.join(index_kinds())}")
    module, _, name = _KINDS[kind].partition(":")
    index: type[Index[Any]] = getattr(import_module(module), name)
    return index


def read_index(path: Path, *, check: bool = True) -> Index[Any]:
    """Open an index file of whatever kind; see :meth:`Index.read`.

    Raises
    ------
    CorruptFileError
        Damaged, cut short, or not an index file.
    StorageError
        The file cannot be read.
    UnsupportedOperationError
        Of a kind that this version does not know.
    MissingDependencyError
        The kind's library is not installed.
    """
    kind = read_header(path).kind
    if kind not in _KINDS:
        raise UnsupportedOperationError(
            f"index file {path} is of kind {kind!r}, which this version does not know; "
            f"it knows {', '.join(index_kinds())}: build the index again"
        )
    return get_index(kind).read(path, check=check)
