"""Source formats, one file each, behind one :class:`~vecstore_ingest.formats.reader.Reader`.

A new format is one new file and one line in :data:`FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePath

from vecstore.errors import IngestError
from vecstore_ingest.formats.arrow import ArrowReader
from vecstore_ingest.formats.csv import CsvReader
from vecstore_ingest.formats.fbin import FbinReader
from vecstore_ingest.formats.fvecs import FvecsReader
from vecstore_ingest.formats.hdf5 import Hdf5Reader
from vecstore_ingest.formats.jsonl import JsonlReader
from vecstore_ingest.formats.npy import NpyReader
from vecstore_ingest.formats.npz import NpzReader
from vecstore_ingest.formats.parquet import ParquetReader
from vecstore_ingest.formats.reader import Reader, Source
from vecstore_ingest.formats.text import COMPRESSED

__all__ = ["EXTENSIONS", "FORMATS", "open_reader", "with_format"]

FORMATS: Mapping[str, Callable[[Source], Reader]] = {
    "parquet": ParquetReader,
    "arrow": ArrowReader,
    "jsonl": JsonlReader,
    "csv": CsvReader,
    "tsv": CsvReader,
    "npy": NpyReader,
    "npz": NpzReader,
    "fvecs": FvecsReader,
    "fbin": FbinReader,
    "hdf5": Hdf5Reader,
}

EXTENSIONS: Mapping[str, str] = {f".{name}": name for name in FORMATS} | {
    ".pq": "parquet",
    ".h5": "hdf5",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".arrows": "arrow",
    ".ndjson": "jsonl",
}

_TEXT = ("jsonl", "csv", "tsv")


def with_format(source: Source) -> Source:
    """Return the source with its format: the given one, or the one of its extension.

    Raises
    ------
    IngestError
        Neither is known, or standard input is asked for a format that must seek.
    """
    path = PurePath(source.path)
    if path.suffix in COMPRESSED:
        path = path.with_suffix("")
    name = source.format or EXTENSIONS.get(path.suffix.lower())
    if name not in FORMATS:
        raise IngestError(
            f"{source.path}: expected a format of {', '.join(FORMATS)}, got "
            f"{source.format or path.suffix or 'no extension'!r}; pass format="
        )
    streamed = source.is_stdin or PurePath(source.path).suffix in COMPRESSED
    if streamed and name not in _TEXT:
        raise IngestError(
            f"{source.path}: {name} must be read from an uncompressed file; only "
            f"{', '.join(_TEXT)} can be compressed or come from standard input"
        )
    return replace(source, format=name)


def open_reader(source: Source) -> Reader:
    """Open a file with the reader of its format.

    Raises
    ------
    IngestError
        The file is missing, damaged or of no known format.
    """
    source = with_format(source)
    return FORMATS[str(source.format)](source)
