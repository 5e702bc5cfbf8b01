"""What the catalog stores, as values: records read from it and the changes of one commit."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, final

import pyarrow as pa

from vecstore.spaces import Space
from vecstore.storage.root import StoredFile

__all__ = [
    "Changes",
    "CollectionRecord",
    "DefaultRecord",
    "FileRecord",
    "History",
    "IndexRecord",
    "SpaceRecord",
    "State",
    "Sweep",
    "TranslatorRecord",
    "VersionRecord",
]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionRecord:
    """A collection; ``directory`` stays when it is renamed."""

    id: str
    name: str
    directory: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceRecord:
    """A space of a collection; ``generation`` counts its ancestors in the lineage from 1.

    ``retired_version`` is the version since which it has no vectors and takes none.
    """

    id: str
    space: Space
    directory: str
    generation: int
    retired_version: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultRecord:
    """A commit that set the default query space.

    Attributes
    ----------
    space_id : str or None
        None for no default, as in a new collection.
    restored_version : int or None
        The version whose default a rollback brought back, -1 for that of a new collection.
    """

    version: int = -1
    space_id: str | None
    restored_version: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """An immutable file of rows and the version that added it.

    A ``deletes`` file kills the rows it names in all that was written before: items and all
    their vectors, or with ``space_id`` only the vectors in that space. A row is in one
    ``items`` file; their ranges of row ids are disjoint but for the gaps of compacted ones.
    """

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    kind: Literal["items", "vectors", "deletes"]
    file: StoredFile
    rows: int
    min_row_id: int
    max_row_id: int
    space_id: str | None = None
    added_version: int = -1

    def __post_init__(self) -> None:
        if self.kind not in ("items", "vectors", "deletes"):
            raise ValueError(f"expected a file of items, vectors or deletes, got {self.kind!r}")

    @property
    def contiguous(self) -> bool:
        """Whether the rows are all ids from the least to the greatest."""
        return self.max_row_id - self.min_row_id + 1 == self.rows


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatorRecord:
    """A fitted translator: direction, files by name, and what was measured when it was fitted."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    source: str
    target: str
    family: str
    files: Mapping[str, StoredFile]
    report: Mapping[str, Any]
    added_version: int = -1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRecord:
    """A built index: a cache over the vectors of one view of one space.

    ``version`` is the last one that changed the space's vectors when the index was built: it
    holds the vectors that had been written by then, in whichever files they are now. ``report``
    is what tuning measured, empty where an index was built as it is.
    """

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    space: str
    translator_id: str | None
    execution: str | None
    kind: str
    parameters: Mapping[str, Any]
    file: StoredFile
    rows: int
    space_id: str
    version: int
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def view(self) -> tuple[str, str | None, str | None]:
        """What it indexes: the space, the route of a translated view, and its form."""
        return self.space, self.translator_id, self.execution


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """One commit: what it did and when, and whether its version can still be read."""

    version: int
    committed_at: datetime
    operation: str
    rows: int
    expired: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything one version of a collection consists of."""

    collection: CollectionRecord
    version: int
    schema: pa.Schema
    spaces: tuple[SpaceRecord, ...]
    files: tuple[FileRecord, ...]
    translators: tuple[TranslatorRecord, ...]
    defaults: tuple[DefaultRecord, ...] = ()
    lexical_weights: Mapping[str, float] = field(default_factory=dict)
    """Chosen weights of words, by the id of the ranking space."""

    def default_at(self, version: int) -> DefaultRecord | None:
        """Return the default in effect at a version; None for that of a new collection.

        A rollback stands for the commit whose default it brought back.
        """
        last = max((d for d in self.defaults if d.version <= version), default=None, key=_version)
        if last is None or last.restored_version is None:
            return last
        return next((d for d in self.defaults if d.version == last.restored_version), None)

    def after(self, changes: Changes, version: int) -> State | None:
        """Return what a commit upon this version has made; None if it changed more than rows."""
        if not changes.rows_only:
            return None
        added = (replace(file, added_version=version) for file in changes.add_files)
        removed = frozenset(changes.remove_files)
        return replace(
            self,
            version=version,
            schema=self.schema if changes.schema is None else changes.schema,
            files=(*(file for file in self.files if file.id not in removed), *added),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that any version of a collection refers to."""

    next_row_id: int
    spaces: tuple[SpaceRecord, ...]
    files: tuple[FileRecord, ...]
    translators: tuple[TranslatorRecord, ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a collection needs no more, and which files and translators it still has.

    Attributes
    ----------
    paths : tuple of str
        Files that can be deleted.
    file_ids, translator_ids : frozenset of str
        What caches may still be made from.
    """

    paths: tuple[str, ...]
    file_ids: frozenset[str]
    translator_ids: frozenset[str]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one commit adds to and takes from a collection, atomically."""

    operation: str
    rows: int = 0
    add_files: tuple[FileRecord, ...] = ()
    remove_files: tuple[str, ...] = ()
    add_spaces: tuple[SpaceRecord, ...] = ()
    remove_spaces: tuple[str, ...] = ()
    retire_spaces: tuple[str, ...] = ()
    default: DefaultRecord | None = None
    lexical_weight: tuple[str, float] | None = None
    add_translators: tuple[TranslatorRecord, ...] = ()
    remove_translators: tuple[str, ...] = ()
    schema: pa.Schema | None = None
    checkpoint: tuple[str, Mapping[str, Any]] | None = None

    @property
    def rows_only(self) -> bool:
        """Whether spaces, translators and what is chosen for them stay as they are."""
        spaces = (*self.add_spaces, *self.remove_spaces, *self.retire_spaces)
        translators = (*self.add_translators, *self.remove_translators)
        chosen = (self.default, self.lexical_weight)
        return not spaces and not translators and chosen == (None, None)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all files that are added."""
        files = [record.file for record in self.add_files]
        files += [file for record in self.add_translators for file in record.files.values()]
        return tuple(file.path for file in files)


def _version(record: DefaultRecord) -> int:
    return record.version
