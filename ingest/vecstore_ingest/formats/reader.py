"""What a file format must offer: bounded chunks of rows that can be restarted anywhere.

A job survives being killed because the chunk that begins at a position is the same chunk
every time: it depends on the position and on ``batch_rows``, and on nothing that was read
before. Formats keep that law; jobs rely on it.
"""

from __future__ import annotations

import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.errors import IngestError

__all__ = [
    "ROW_NUMBERS",
    "START",
    "STDIN",
    "BadRow",
    "Chunk",
    "Position",
    "Reader",
    "Source",
    "reading",
]

STDIN = "-"
ROW_NUMBERS = "rows"

_DAMAGE = (
    pa.ArrowException,
    OSError,
    EOFError,
    ValueError,
    MemoryError,
    OverflowError,
    KeyError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file to read.

    Parameters
    ----------
    path : str
        A file, or ``"-"`` for standard input (JSONL and CSV).
    format : str, optional
        A name of :data:`vecstore_ingest.FORMATS`; by default the file's extension decides.
    ids : str, optional
        For formats that hold vectors only (npy, fvecs, fbin, hdf5): a file with one id per vector
        (``.txt``, ``.npy`` or ``.ivecs``), or ``"rows"`` to use row numbers as ids.
    """

    path: str
    format: str | None = None
    ids: str | None = None

    @property
    def is_stdin(self) -> bool:
        """Whether rows come from standard input."""
        return self.path == STDIN

    @property
    def size(self) -> int:
        """Bytes of the file; 0 for standard input."""
        if self.is_stdin:
            return 0
        with reading(self):
            return Path(self.path).stat().st_size


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a chunk begins: rows are counted from 0, bytes are of the uncompressed text.

    ``digest`` sums up all text before it; formats that can seek leave it empty.
    """

    row: int = 0
    byte: int = 0
    digest: str = ""


START = Position()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that cannot be taken, and why. ``raw`` is JSON-ready or text."""

    row: int
    column: str | None
    reason: str
    raw: Any = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Consecutive rows of a file, from ``start`` up to ``end``.

    ``rows[i]`` is the number, in the file, of row i of ``batch``. Rows that could not even be
    parsed are in ``bad``; both are in file order.
    """

    batch: pa.RecordBatch
    rows: NDArray[np.int64]
    bad: tuple[BadRow, ...] = ()
    start: Position
    end: Position


class Reader(ABC):
    """One open file of one format.

    Laws, checked for every registered format by the test suite:

    1. The chunks from row 0 hold every row once, in file order, at most ``batch_rows`` each.
    2. Starting again at any chunk's ``start`` gives the same chunks from there on.
    3. Whatever the bytes are, only :class:`~vecstore.errors.IngestError` comes out, and
       nothing is allocated on the word of a header that the file's size does not support.
    4. When a file turns out to be damaged, the rows before the damage are yielded first.
    """

    untyped: ClassVar[bool] = False
    """Whether every column is text whose type is still to be found (CSV)."""

    unique_ids: bool = False
    """Whether ids cannot repeat, because they are row numbers."""

    def __init__(self, source: Source) -> None:
        self.source = source

    @property
    def total_rows(self) -> int | None:
        """Number of rows where the format knows it without reading them."""
        return None

    @abstractmethod
    def chunks(
        self,
        start: Position = START,
        *,
        batch_rows: int,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Chunk]:
        """Yield chunks from a position on; ``columns`` lets columnar formats read less."""

    def fraction(self, position: Position) -> float:
        """Share of the file before a position, in 0..1; 0 where it cannot be known."""
        return position.row / self.total_rows if self.total_rows else 0.0

    def where(self, row: int) -> str:
        """Name a row for people."""
        return f"row {row}"


@contextmanager
def reading(source: Source, row: int | None = None) -> Iterator[None]:
    """Turn whatever a damaged or missing file raises into an IngestError that names it."""
    try:
        yield
    except IngestError:
        raise
    except FileNotFoundError as error:
        raise IngestError(f"{source.path}: no such file; check the path") from error
    except _DAMAGE as error:
        at = "" if row is None else f" at or after row {row}"
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise IngestError(
            f"{source.path}: expected a readable {source.format or 'file'}, but reading failed{at}"
            f": {detail}. The file is damaged, truncated or of another format; write it again or "
            "name its format"
        ) from error
