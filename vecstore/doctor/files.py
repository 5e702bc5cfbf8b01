"""Checks of what was committed: files against the catalog, and rows against each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vecstore.catalog import FileRecord
from vecstore.doctor.case import RESTORE, Case
from vecstore.doctor.report import Diagnosis
from vecstore.errors import VecstoreError
from vecstore.guards import purity
from vecstore.snapshot import vector_labels
from vecstore.storage.deletes import read_deletes
from vecstore.storage.items import ItemSegment
from vecstore.storage.vectors import read_vectors

__all__ = ["check_content", "check_files", "check_purity", "check_rows", "check_translators"]

# By how much a stored unit vector's squared length may differ from 1 after rounding to its type.
_UNIT = {"float32": 1e-4, "float16": 1e-2}
_ROWS_AT_ONCE = 65_536


def check_files(case: Case) -> Iterator[Diagnosis]:
    """Compare every file of every version with its size and checksum."""
    caches = {index.file.path for index in case.indexes}
    for path, file in sorted(case.registered().items()):
        if path in caches:
            continue  # a lost index is no loss; see check_indexes
        try:
            case.root.map(file)
        except VecstoreError as error:
            yield case.damage("files", path, error)
        else:
            case.read[path] = file.size


def check_content(case: Case) -> Iterator[Diagnosis]:
    """Compare what is in the files with what the catalog says of it."""
    for file in case.history.files:
        if not case.whole(file):
            continue
        try:
            wrong = _wrong(case, file)
        except VecstoreError as error:
            wrong = str(error)
        if wrong is not None:
            yield case.damage("content", file.file.path, wrong)


def _wrong(case: Case, file: FileRecord) -> str | None:
    """Return what is wrong with the rows of a whole file; None if nothing is."""
    if file.kind == "items":
        segment = ItemSegment(case.root, file.file)
        if len(segment.ids) != len(segment.row_ids):
            return f"{len(segment.row_ids)} rows have {len(segment.ids)} ids"
        return _wrong_rows(case, file, segment.row_ids)
    if file.kind == "deletes":
        deletes = read_deletes(case.root, file.file, added_version=file.added_version)
        return _wrong_rows(case, file, deletes.row_ids)
    record = next((s for s in case.history.spaces if s.id == file.space_id), None)
    if record is None:
        return f"it belongs to a space {file.space_id} that the catalog does not know"
    space = record.space
    vectors = read_vectors(case.root, file.file, dim=space.dim, labels=vector_labels(record))
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        part = vectors.vectors[start : start + _ROWS_AT_ONCE].astype(np.float32)
        if not np.isfinite(part).all():
            return "a component is not a finite number"
        if space.normalised:
            off = np.abs(np.einsum("ij,ij->i", part, part) - 1)
            if (off > _UNIT[space.dtype]).any():
                return f"vector {start + int(off.argmax())} has not the unit length of its space"
    return _wrong_rows(case, file, vectors.row_ids)


def _wrong_rows(case: Case, file: FileRecord, row_ids: NDArray[np.int64]) -> str | None:
    found = (len(row_ids), int(row_ids.min()), int(row_ids.max())) if len(row_ids) else (0, -1, -1)
    told = (file.rows, file.min_row_id, file.max_row_id)
    if found != told:
        return f"expected (rows, least, greatest row id) to be {told}, found {found}"
    if (np.diff(row_ids) <= 0).any():
        return "its row ids do not ascend"
    if found[2] >= case.history.next_row_id:
        return f"row id {found[2]} was never given out; the next one is {case.history.next_row_id}"
    return None


def check_rows(case: Case) -> Iterator[Diagnosis]:
    """Check the newest version: each row in one file, each id in one live row."""
    files = case.snapshot.state.files
    if not case.whole(*files):
        return
    items = [f for f in files if f.kind == "items"]
    parts = [ItemSegment(case.root, file.file).row_ids for file in items]
    rows = np.concatenate([np.empty(0, np.int64), *parts])
    for row in _repeated(rows)[:1]:
        holders = [f.file.path for f, p in zip(items, parts, strict=True) if row in p]
        yield case.diagnosis(
            "error", "rows", holders[0], f"row {row} is in {' and '.join(holders)}", RESTORE
        )
        return
    live = case.snapshot.live.to_array()
    ids = case.snapshot.ids(live)
    if len(ids.unique()) != len(ids):
        example = ids.value_counts().sort(order="descending", by="counts")[0]
        yield case.diagnosis(
            "error",
            "rows",
            None,
            f"{len(ids) - len(ids.unique())} live rows have an id that another one has, such as "
            f"{example['values'].as_py()!r}",
            "upsert the item again: that replaces one of the rows; report this as a bug",
        )
    for name in case.snapshot.spaces:
        own = [vectors.live_row_ids for vectors in case.snapshot.vectors(name)]
        joined = np.concatenate([np.empty(0, np.int64), *own])
        twice = len(_repeated(joined))
        strange = int((~np.isin(joined, rows)).sum())
        if twice or strange:
            yield case.diagnosis(
                "error",
                "rows",
                None,
                f"space {name!r}: {twice} rows have two vectors, {strange} vectors have no item",
                RESTORE,
            )


def _repeated(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    ordered = np.sort(rows)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def check_translators(case: Case) -> Iterator[Diagnosis]:
    """Open every translator of the newest version, and compare it with its spaces."""
    dims = {name: record.space.dim for name, record in case.snapshot.spaces.items()}
    for record in case.snapshot.state.translators:
        paths = [file.path for file in record.files.values()]
        if case.damaged.intersection(paths):
            continue
        try:
            translator = case.translators.open(record)
        except VecstoreError as error:
            yield case.damage("translators", paths[0], error)
            continue
        found = translator.source_dim, translator.target_dim
        wanted = dims.get(record.source), dims.get(record.target)
        if found != wanted:
            yield case.damage(
                "translators",
                paths[0],
                f"it maps {found[0]} to {found[1]} dimensions, {record.source!r} and "
                f"{record.target!r} have {wanted[0]} and {wanted[1]}",
            )


def check_purity(case: Case) -> Iterator[Diagnosis]:
    """Look in each space for vectors that another space's model made."""
    if not case.whole(*case.snapshot.state.files):
        return
    for found in purity(case.snapshot):
        for other, share in found.strays.items():
            worst = next((f.path for f in found.files if f.other == other), None)
            yield case.diagnosis(
                "warning",
                "purity",
                worst,
                f"about {share:.1%} of the vectors in space {found.space!r} look like those of "
                f"space {other!r}",
                "embed these items again, and add_vectors with on_existing='replace'",
            )
