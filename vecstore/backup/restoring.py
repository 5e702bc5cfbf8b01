"""Making a store from a backup: the files first, then the catalog in one transaction."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, final

from vecstore.backup.making import copy_file
from vecstore.backup.manifest import read_manifest, stored
from vecstore.catalog import Catalog
from vecstore.errors import AlreadyExistsError, CorruptFileError
from vecstore.places import located
from vecstore.storage.root import DataRoot, open_root

__all__ = ["RestoreReport", "restore"]

# Names the backup whose files are on their way; while it is there, the data root is no store's.
_UNDER_WAY: Final = "restoring"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What was restored.

    Attributes
    ----------
    collections : dict of str to int
        Names and newest versions.
    made_at : datetime
        When the backup was made, in UTC.
    files, bytes : int
    indexes_left_out : tuple of str
        Paths of indexes that were damaged in the backup; they can be built again.
    """

    collections: Mapping[str, int]
    made_at: datetime
    files: int
    bytes: int
    indexes_left_out: tuple[str, ...]


def restore(
    place: str | os.PathLike[str],
    into: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> RestoreReport:
    """Make a store from a backup, with every version that could be read when it was made.

    The catalog is filled last, in one transaction: a restore that was interrupted leaves no
    store, and goes on when it is run again.

    Parameters
    ----------
    place : path or str
        Where :meth:`Store.backup` put it: a folder, or the URL of an object store.
    into, data : path or str
        The place of the new store, as for :func:`open`. The kind of the catalog and of the
        data root may differ from those of the old store.
    cache : path, optional
        Local folder for what is read of an object store, as for :func:`open`.

    Raises
    ------
    AlreadyExistsError
        There is a store with collections, or a data root with files. Nothing was changed.
    NotFoundError
        There is no backup, or one that was interrupted.
    CorruptFileError
        A file of the backup is missing or damaged; names it.
    SchemaVersionError
        The backup has another format or schema than this vecstore restores.
    """
    source = open_root(place, cache=cache)
    _, file, manifest = read_manifest(source)
    there = located(into, data)
    root = open_root(there.data, cache=cache)
    if there.exists:
        _require_no_collections(there.url)
    _begin(root, file.checksum)
    found = {f.path: f for f in root.found("data")}
    try:
        for part in manifest.files:
            copy_file(source, stored(part), root, part, found)
    except CorruptFileError as error:
        raise CorruptFileError(
            f"the backup at {source.shown} is damaged, use another one: {error}"
        ) from error
    left_out = set()
    for part in manifest.indexes:
        try:
            copy_file(source, stored(part), root, part, found)
        except CorruptFileError:
            left_out.add(part.path)
    manifest = manifest.without_indexes(left_out)
    there.prepare()
    catalog = Catalog(there.url)
    try:
        catalog.portable.write(manifest.rows)
    finally:
        catalog.close()
    root.remove_tree(_UNDER_WAY)
    files = (*manifest.files, *manifest.indexes)
    return RestoreReport(
        collections=manifest.collections,
        made_at=manifest.made_at,
        files=len(files),
        bytes=sum(part.size for part in files),
        indexes_left_out=tuple(sorted(left_out)),
    )


def _require_no_collections(url: str) -> None:
    catalog = Catalog(url)
    try:
        catalog.portable.require_none()
    finally:
        catalog.close()


def _begin(root: DataRoot, backup: str) -> None:
    """Take an empty data root, or one where a restore of the same backup was interrupted.

    Raises
    ------
    AlreadyExistsError
        There are files.
    """
    mark = f"{_UNDER_WAY}/{backup}"
    if mark in {file.path for file in root.found(_UNDER_WAY)}:
        return
    file = next(iter(root.found("data")), None)
    if file is not None:
        raise AlreadyExistsError(
            f"expected a data root without files, found {file.path}; restore into another place"
        )
    root.write(mark, lambda sink: sink.write(b"a restore is under way\n"))
