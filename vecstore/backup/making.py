"""Making a backup: one look at the catalog, then its files, then the manifest."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import final

from vecstore.backup.manifest import (
    FOLDER,
    Manifest,
    find_manifest,
    new_manifest,
    read_manifest,
    stored,
    write_manifest,
)
from vecstore.catalog import Catalog
from vecstore.errors import AlreadyExistsError, CorruptFileError
from vecstore.storage.root import DataRoot, FoundFile, StoredFile, open_root

__all__ = ["BackupReport", "back_up", "copy_file"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """What a backup consists of.

    Attributes
    ----------
    collections : dict of str to int
        Names, and the newest version that is in the backup.
    files, bytes : int
        Of the whole backup, without its manifest.
    copied_files, copied_bytes : int
        What was not there from an earlier backup.
    removed_files : int
        What only earlier backups had.
    indexes_left_out : tuple of str
        Paths of indexes that were missing or damaged; they can be built again.
    """

    collections: Mapping[str, int]
    files: int
    bytes: int
    copied_files: int
    copied_bytes: int
    removed_files: int
    indexes_left_out: tuple[str, ...]


def back_up(
    catalog: Catalog,
    root: DataRoot,
    place: str | os.PathLike[str],
    *,
    collections: Collection[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> BackupReport:
    """Make a backup; see :meth:`vecstore.Store.backup`."""
    target = open_root(place, cache=cache)
    rows, all_ids = catalog.portable.read(collections)
    manifest = new_manifest(rows)
    number = _next_number(target, manifest, all_ids)
    there = {file.path: file for file in target.found(FOLDER)}
    copied = []
    try:
        for file in manifest.files:
            copied += [file] * copy_file(root, file, target, stored(file), there)
    except CorruptFileError as error:
        raise CorruptFileError(
            f"the backup to {target.shown} is not complete: {error}. If versions expired "
            "and gc deleted their files meanwhile, run it again"
        ) from error
    left_out = set()
    for file in manifest.indexes:
        try:
            copied += [file] * copy_file(root, file, target, stored(file), there)
        except CorruptFileError:
            left_out.add(file.path)  # dropped or replaced meanwhile, or to be built again
    manifest = manifest.without_indexes(left_out)
    written = write_manifest(target, manifest, number)
    files = (*manifest.files, *manifest.indexes)
    needed = {written.path, *(stored(file).path for file in files)}
    removed = [path for path in there if path not in needed]
    for path in removed:
        target.remove(path)
    return BackupReport(
        collections=manifest.collections,
        files=len(files),
        bytes=sum(file.size for file in files),
        copied_files=len(copied),
        copied_bytes=sum(file.size for file in copied),
        removed_files=len(removed),
        indexes_left_out=tuple(sorted(left_out)),
    )


def copy_file(
    source: DataRoot,
    file: StoredFile,
    target: DataRoot,
    copy: StoredFile,
    there: Mapping[str, FoundFile],
) -> bool:
    """Copy a file unless its copy is ``there`` and whole; say whether it was copied.

    Raises
    ------
    CorruptFileError
        The file is missing or damaged, or its copy is not what was written.
    """
    found = there.get(copy.path)
    if found is not None and found.size == copy.size:
        try:
            target.map(copy)
        except CorruptFileError:
            pass  # half a copy, or a damaged one: it is made again
        else:
            return False
    content = source.map(file)
    if target.write(copy.path, lambda sink: sink.write(content)) != copy:
        raise CorruptFileError(f"{copy.path}: what was written is not what was read; run it again")
    return True


def _next_number(target: DataRoot, manifest: Manifest, all_ids: frozenset[str]) -> int:
    """Return the number of the next manifest at a place.

    Raises
    ------
    AlreadyExistsError
        The backup there is another store's, or has collections that this one would leave out.
    """
    if find_manifest(target) is None:
        return 1
    number, _, before = read_manifest(target)
    old = {row["id"]: row["name"] for row in before.rows["collections"]}
    new = {row["id"] for row in manifest.rows["collections"]}
    lost = [old[i] for i in sorted(old.keys() & all_ids - new)]
    if lost or (old and not old.keys() & all_ids):
        what = ", ".join(map(repr, lost)) if lost else "only collections of another store"
        raise AlreadyExistsError(
            f"the backup at {target.shown} has {what}, which this one would replace; "
            "choose another place"
        )
    return number + 1
