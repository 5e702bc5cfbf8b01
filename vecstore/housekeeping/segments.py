"""Segments: how many files a version consists of, how large they are, and how much is dead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from vecstore.arguments import TARGET_BYTES
from vecstore.catalog import FileRecord, SpaceRecord
from vecstore.snapshot import Snapshot

__all__ = ["Pile", "Segment", "SegmentStatus", "advice", "piles", "segment_status"]

# More small files than this are felt in a search (benchmarks/housekeeping.py), and so is this
# share of dead rows in the room they take.
MANY_FILES = 64
MUCH_DEAD = 0.2


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segment:
    """An item or vector file and how many of its rows live."""

    record: FileRecord
    live: int

    @property
    def dead_share(self) -> float:
        """Share of the rows that are dead, 0 to 1."""
        return 1 - self.live / self.record.rows

    @property
    def live_bytes(self) -> int:
        """About how many bytes the live rows take."""
        return round(self.record.file.size * (1 - self.dead_share))


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pile:
    """All files of one kind: the items, or the vectors of a space; in the order of row ids."""

    space: SpaceRecord | None
    segments: tuple[Segment, ...]
    deletes: tuple[FileRecord, ...]

    @property
    def space_id(self) -> str | None:
        """The space's id; None for the items."""
        return None if self.space is None else self.space.id


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentStatus:
    """The files of one kind in a version.

    Attributes
    ----------
    kind : {"items", "vectors"}
    space : str or None
        Of the vectors.
    files, small_files, delete_files : int
        Small is below half of what compaction aims at.
    rows, dead : int
        Rows in the files, and how many of them are dead.
    bytes : int
    """

    kind: Literal["items", "vectors"]
    space: str | None
    files: int
    small_files: int
    delete_files: int
    rows: int
    dead: int
    bytes: int

    @property
    def dead_share(self) -> float:
        """Share of the rows that are dead, 0 to 1."""
        return self.dead / self.rows if self.rows else 0.0


def piles(snapshot: Snapshot) -> Iterator[Pile]:
    """Return the files of a version, sorted into piles."""
    files = sorted(snapshot.state.files, key=lambda f: (f.min_row_id, f.max_row_id))
    live = np.zeros(max((f.max_row_id for f in files), default=-1) + 2, dtype=np.int64)
    live[1:][snapshot.live.to_array()] = 1
    below = np.cumsum(live)  # live rows with a smaller id
    yield Pile(
        space=None,
        segments=tuple(
            Segment(record=f, live=_live_items(snapshot, f, below))
            for f in files
            if f.kind == "items"
        ),
        deletes=_deletes(snapshot, None),
    )
    for name, record in snapshot.spaces.items():
        opened = sorted(snapshot.vectors(name), key=lambda v: v.record.min_row_id)
        yield Pile(
            space=record,
            segments=tuple(Segment(record=v.record, live=len(v.live_row_ids)) for v in opened),
            deletes=_deletes(snapshot, record.id),
        )


def segment_status(snapshot: Snapshot) -> tuple[SegmentStatus, ...]:
    """Return what the files of a version are like."""
    return tuple(
        SegmentStatus(
            kind="items" if pile.space is None else "vectors",
            space=None if pile.space is None else pile.space.space.name,
            files=len(pile.segments),
            small_files=sum(s.record.file.size < TARGET_BYTES // 2 for s in pile.segments),
            delete_files=len(pile.deletes),
            rows=sum(s.record.rows for s in pile.segments),
            dead=sum(s.record.rows - s.live for s in pile.segments),
            bytes=sum(f.file.size for f in (*(s.record for s in pile.segments), *pile.deletes)),
        )
        for pile in piles(snapshot)
    )


def advice(statuses: Sequence[SegmentStatus]) -> str | None:
    """Return why compaction is due, in words; None if it is not."""
    for status in statuses:
        what = "items" if status.space is None else f"vectors of space {status.space!r}"
        if max(status.small_files, status.delete_files) >= MANY_FILES:
            return (
                f"the {what} lie in {status.files:,} files with {status.delete_files:,} files of "
                "deletes; run compact"
            )
        if status.dead_share >= MUCH_DEAD:
            return f"{status.dead_share:.0%} of the rows of the {what} are dead; run compact"
    return None


def _live_items(snapshot: Snapshot, record: FileRecord, below: NDArray[np.int64]) -> int:
    if record.contiguous:
        return int(below[record.max_row_id + 1] - below[record.min_row_id])
    return int(snapshot.live.contains(snapshot.row_ids_of(record)).sum())


def _deletes(snapshot: Snapshot, space_id: str | None) -> tuple[FileRecord, ...]:
    files = snapshot.state.files
    return tuple(f for f in files if f.kind == "deletes" and f.space_id == space_id)
