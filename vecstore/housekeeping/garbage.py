"""Garbage: files that no readable version has, found by reachability and deleted after a grace.

Only what vecstore itself can have written is ever deleted; a file of another name is left
alone. Two kinds of files wait for the grace period. Those that nobody registered may belong to
a writer who has not committed yet; should he take longer, his commit is refused, so nothing
that is committed is ever missing. Those of versions that have expired may still be wanted by
somebody who opened such a version before.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, final

from vecstore.catalog import Catalog, Sweep
from vecstore.errors import InvalidArgumentError
from vecstore.storage.root import DataRoot, FoundFile

__all__ = ["GarbageReport", "collect_garbage"]

_NAME = r"[0-9a-f]{32}"
_OWN: Final = {
    "items": re.compile(rf"items/{_NAME}\.parquet"),
    "vectors": re.compile(rf"vectors/[^/]+/{_NAME}\.arrow"),
    "deletes": re.compile(rf"deletes/{_NAME}\.arrow"),
    "translators": re.compile(rf"translators/{_NAME}/[^/]+"),
    "indexes": re.compile(rf"indexes/{_NAME}\.faiss"),
    "translated": re.compile(rf"translated/({_NAME}(?:\+{_NAME})*)-[a-z]+/({_NAME})\.arrow"),
    "queries": re.compile(rf"queries/({_NAME})\.arrow"),
    "temporary": re.compile(r"(?:.*/)?\.[^/]+\.tmp"),
}
_UNREGISTERED: Final = ("translated", "queries", "temporary")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GarbageReport:
    """What was deleted, or would be.

    Attributes
    ----------
    files, bytes : int
    kinds : dict of str to int
        Files of each kind: items, vectors, deletes, translators, indexes, translated (a cache
        of translations), queries (a sample of those of a space), temporary (unfinished files),
        and dropped (of collections that are no more).
    paths : tuple of str
        Relative to the data root, sorted.
    dry_run : bool
        Nothing was deleted.
    """

    files: int
    bytes: int
    kinds: Mapping[str, int]
    paths: tuple[str, ...] = field(repr=False)
    dry_run: bool


def collect_garbage(
    catalog: Catalog, root: DataRoot, *, grace: timedelta, dry_run: bool
) -> GarbageReport:
    """Delete the files of a store that nothing needs and that have rested for ``grace``.

    Raises
    ------
    InvalidArgumentError
        ``grace`` is negative.
    """
    if grace < timedelta(0):
        raise InvalidArgumentError(f"expected grace of at least 0, got {grace}")
    before = datetime.now(UTC) - grace
    # What is listed before the catalog is asked was there before: it is registered by now, or
    # its writer has not committed.
    sizes: dict[str, int] = {}
    found: dict[str, dict[str, FoundFile]] = {}
    for file in root.found("data"):
        sizes[file.path] = file.size
        found.setdefault(file.path.split("/")[1], {})[file.path] = file
    kinds: dict[str, str] = {}
    for collection in catalog.collections():
        files = found.pop(collection.directory, {})
        own = {p: k for p, f in files.items() if (k := _kind(p, f, before)) is not None}
        registered = [p for p, kind in own.items() if kind not in _UNREGISTERED]
        sweep = catalog.sweep(
            collection.id, expired_before=before, orphans=registered, forget=not dry_run
        )
        kinds |= {path: _kind_of(path) or "" for path in sweep.paths if path in files}
        spaces = {s.id for s in catalog.state(collection.id).spaces if s.retired_version is None}
        kinds |= {path: kind for path, kind in own.items() if _is_stale(path, kind, sweep, spaces)}
    rest = [file for files in found.values() for file in files.values()]
    kinds |= {f.path: "dropped" for f in rest if _kind(f.path, f, before) is not None}
    if not dry_run:
        for path in kinds:
            root.remove(path)
    return GarbageReport(
        files=len(kinds),
        bytes=sum(sizes[path] for path in kinds),
        kinds=dict(sorted(Counter(kinds.values()).items())),
        paths=tuple(sorted(kinds)),
        dry_run=dry_run,
    )


def _kind(path: str, file: FoundFile, before: datetime) -> str | None:
    """Return the kind of a file that has rested; None if it has not, or is not ours."""
    return _kind_of(path) if file.modified <= before else None


def _kind_of(path: str) -> str | None:
    inner = path.split("/", 2)[-1]
    return next((kind for kind, pattern in _OWN.items() if pattern.fullmatch(inner)), None)


def _is_stale(path: str, kind: str, sweep: Sweep, spaces: Set[str]) -> bool:
    """Say whether a file is a remnant, or a cache made from something that is gone."""
    if kind not in _UNREGISTERED:
        return False
    match = _OWN[kind].fullmatch(path.split("/", 2)[2])
    assert match is not None
    if kind == "queries":
        return match[1] not in spaces
    if kind == "translated":
        translators, source = match[1].split("+"), match[2]
        return source not in sweep.file_ids or not sweep.translator_ids.issuperset(translators)
    return True
