"""The header of a .npy array, parsed without evaluating it and held against the file's size.

numpy's own reader evaluates the header as a Python literal and can unpickle objects. Here
three fields are matched by pattern, and only plain numbers and strings pass.

References
----------
NEP 1, "A simple file format for NumPy arrays".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import IngestError
from vecstore_ingest.formats.reader import Source, reading

__all__ = ["ArrayHeader", "map_npy", "read_header"]

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 64 << 10
_DESCR = re.compile(r"""['"]descr['"]\s*:\s*['"]([<>|=]?[a-zA-Z]\d*)['"]""")
_FORTRAN = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)""")
_SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(((?:\s*\d{1,18}\s*,)*\s*(?:\d{1,18}\s*)?)\)""")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayHeader:
    """What a .npy header declares; ``offset`` is where the data begins."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    offset: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row along the first axis."""
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def check_size(self, size: int, *, name: str) -> None:
        """Raise IngestError unless ``size`` bytes are exactly the header and the data."""
        expected = self.offset + self.dtype.itemsize * math.prod(self.shape)
        if size == expected:
            return
        problem = "has bytes after its data"
        if size < expected:
            known = self.row_bytes and not self.fortran
            whole = max(0, (size - self.offset) // self.row_bytes) if known else 0
            problem = f"is truncated in row {whole}"
        raise IngestError(
            f"{name}: expected {expected} bytes for an array of shape {self.shape} and dtype "
            f"{self.dtype}, got {size}: the file {problem}; write it again"
        )


def read_header(stream: IO[bytes], *, name: str) -> ArrayHeader:
    """Read a header and leave the stream at the data.

    Raises
    ------
    IngestError
        Not a .npy array, or one of objects, structures or dates.
    """
    start = stream.read(8)
    if len(start) < 8 or start[:6] != _MAGIC or start[6] not in (1, 2, 3):
        raise IngestError(f"{name}: expected a .npy array of format 1 to 3, got other bytes")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    text = stream.read(min(length, _MAX_HEADER))
    if len(text) < length:
        raise IngestError(
            f"{name}: the .npy header is truncated or longer than {_MAX_HEADER} bytes"
        )
    header = text.decode("latin-1")
    descr, fortran, shape = (p.search(header) for p in (_DESCR, _FORTRAN, _SHAPE))
    if descr is None or fortran is None or shape is None:
        raise IngestError(
            f"{name}: expected a .npy header with a plain dtype, an order and a shape; structured "
            "arrays are not supported: save plain columns"
        )
    if descr[1].lstrip("<>|=")[0] not in "biufUS":
        raise IngestError(
            f"{name}: expected numbers or strings, got dtype {descr[1]!r}; arrays of objects hold "
            "pickles, which are never loaded: save with a plain dtype"
        )
    try:
        dtype = np.dtype(descr[1])
    except (TypeError, ValueError) as error:
        raise IngestError(f"{name}: numpy has no dtype {descr[1]!r}") from error
    if not dtype.itemsize:
        raise IngestError(f"{name}: expected values with a size, got dtype {descr[1]!r}")
    axes = tuple(int(axis) for axis in shape[1].split(",") if axis.strip())
    return ArrayHeader(
        dtype=dtype, shape=axes, fortran=fortran[1] == "True", offset=8 + width + length
    )


def map_npy(source: Source) -> NDArray[Any]:
    """Return the array of a .npy file, memory-mapped; either byte order, either axis order."""
    with reading(source):
        path = Path(source.path)
        with path.open("rb") as stream:
            header = read_header(stream, name=source.path)
        header.check_size(path.stat().st_size, name=source.path)
        if not math.prod(header.shape):
            return np.empty(header.shape, header.dtype)
        return np.memmap(
            path,
            header.dtype,
            mode="r",
            offset=header.offset,
            shape=header.shape,
            order="F" if header.fortran else "C",
        )
