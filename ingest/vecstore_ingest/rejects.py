"""The file of rows that a job did not take, exact across kills.

Its length is part of the job's checkpoint. What was written after the last commit is cut off
when the job is run again, and written again with the rows it belongs to.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, final

import pyarrow as pa

from vecstore.errors import IngestError
from vecstore.storage.durable import append
from vecstore_ingest.formats.reader import BadRow

__all__ = ["Rejects", "RejectsMark", "raw_row"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RejectsMark:
    """How much was rejected: rows, and bytes of the file."""

    rows: int = 0
    size: int = 0


@final
class Rejects:
    """A JSONL file with file, row, column, reason and the raw row; or only a count.

    Parameters
    ----------
    path : Path or None
        Without one, rows are counted only. A new job begins the file anew.
    mark : RejectsMark
        What the job had rejected at its last commit; anything after it is cut off.

    Raises
    ------
    IngestError
        The file is shorter than the mark says: it is not this job's.
    """

    def __init__(self, path: Path | None, mark: RejectsMark) -> None:
        self._file: BinaryIO | None = None
        self._mark = mark
        if path is None:
            return
        try:
            if mark.size and (not path.exists() or path.stat().st_size < mark.size):
                raise IngestError(
                    f"{path}: expected the {mark.size} bytes of rejected rows that this job wrote "
                    "before it was interrupted; put the file back, or start the job anew "
                    "(resume=False)"
                )
            self._file = path.open("r+b" if mark.size else "wb")
        except OSError as error:
            raise IngestError(
                f"{path}: the file for rejected rows cannot be written: {error}"
            ) from (error)
        self.rollback(mark)

    @property
    def mark(self) -> RejectsMark:
        """What has been rejected so far."""
        return self._mark

    def write(self, file: str, bad: Iterable[BadRow]) -> None:
        """Append rows and wait until they are on disk."""
        lines = [_line(file, row) for row in bad]
        if not lines:
            return
        data = b"".join(lines)
        size = self._mark.size
        if self._file is not None:
            append(self._file, data)
            size += len(data)
        self._mark = RejectsMark(rows=self._mark.rows + len(lines), size=size)

    def rollback(self, mark: RejectsMark) -> None:
        """Take back what was written after a mark."""
        if self._file is not None:
            self._file.truncate(mark.size)
            self._file.seek(mark.size)
        self._mark = mark

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def raw_row(batch: pa.RecordBatch, index: int) -> Any:
    """Return a row as JSON; values JSON does not know become text, bytes are left out."""
    return _json(batch.slice(index, 1).to_pylist()[0])


def _line(file: str, bad: BadRow) -> bytes:
    record = {"file": file, "row": bad.row, "column": bad.column, "reason": bad.reason}
    if bad.raw is not None:
        record["raw"] = bad.raw
    return json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items() if not isinstance(v, bytes)}
    if isinstance(value, list):
        return [_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)
