"""What a job is, and how far it has come: the checkpoint that is committed with its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

import xxhash

from vecstore_ingest.formats.reader import ROW_NUMBERS, START, Position, Source, reading
from vecstore_ingest.rejects import RejectsMark

__all__ = ["JobState", "job_name"]

_HEAD_BYTES = 64 << 10


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """Progress of a job at a commit.

    Attributes
    ----------
    source : int
        Index of the file being read.
    start : Position
        Where the chunk begins that is read next, or again.
    settled : int
        Rows of the file before this one are written or rejected, for good.
    batch_rows : int
        Chunks are the same only if cut alike, so a job keeps what it began with.
    began : int
        The collection's version when the job began.
    written, batches : int
        Rows and commits so far.
    rejects, rejects_path
        Rows rejected so far, and the file that has them.
    """

    source: int = 0
    start: Position = START
    settled: int = 0
    batch_rows: int
    began: int
    written: int = 0
    batches: int = 0
    rejects: RejectsMark = field(default_factory=RejectsMark)
    rejects_path: str | None = None

    @property
    def rows_read(self) -> int:
        """Rows settled so far."""
        return self.written + self.rejects.rows

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> JobState:
        """Read back what :meth:`to_dict` wrote."""
        values = dict(state)
        values["start"] = Position(**values["start"])
        values["rejects"] = RejectsMark(**values["rejects"])
        return cls(**values)


def job_name(sources: Sequence[Source], **target: Any) -> str:
    """Return the name of the job that reads these files into this target.

    The same files (path, size, modification time, first 64 KiB) with the same target make
    the same job; a file that was touched makes another one, which starts from its beginning.
    """
    identity = {"sources": [_identity(source) for source in sources], "target": target}
    text = json.dumps(identity, sort_keys=True, default=str)
    return f"ingest-{xxhash.xxh3_128_hexdigest(text.encode())}"


def _identity(source: Source) -> dict[str, Any]:
    identity: dict[str, Any] = {"format": source.format, "file": _file(source), "ids": source.ids}
    if source.ids not in (None, ROW_NUMBERS):
        identity["ids"] = _file(Source(path=str(source.ids)))
    return identity


def _file(source: Source) -> list[Any]:
    if source.is_stdin:
        return [source.path]
    with reading(source):
        path = Path(source.path).resolve(strict=True)
        status = path.stat()
        with path.open("rb") as file:
            head = xxhash.xxh3_128_hexdigest(file.read(_HEAD_BYTES))
        return [str(path), status.st_size, status.st_mtime_ns, head]
