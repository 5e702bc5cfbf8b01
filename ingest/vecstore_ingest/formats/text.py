"""Text files cut into records: JSON lines, and CSV records with line breaks inside quotes."""

from __future__ import annotations

import io
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO, final

import numpy as np
import pyarrow as pa
import xxhash

from vecstore.errors import IngestError
from vecstore_ingest.formats.reader import Position, Source, reading

__all__ = ["COMPRESSED", "UTF8_BOM", "Block", "TextFile"]

COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")

MAX_RECORD_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20
_BLOCK_BYTES = 64 << 20
UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Whole records without their line ends; record i is row ``start.row + i``."""

    records: list[bytes]
    start: Position
    end: Position


@final
class TextFile:
    """The records of a plain or compressed (gz, bz2, zst, lz4) text file, or of stdin.

    Parameters
    ----------
    quoted : bool
        Line breaks between double quotes belong to the record (CSV).
    header : bool
        The first record is not a row; :attr:`header` has it once blocks were asked for.
    """

    def __init__(self, source: Source, *, quoted: bool = False, header: bool = False) -> None:
        self._source = source
        self._quoted = quoted
        self._has_header = header
        self.header: bytes | None = None
        self._raw: BinaryIO | None = None

    def read_header(self) -> bytes:
        """Return the first record; standard input has it only once its blocks were asked for."""
        if self.header is None:
            stream = self._open(0)
            with stream:
                self.header = next(self._records(stream, 0), b"").removeprefix(UTF8_BOM)
        return self.header

    def blocks(self, start: Position, *, max_rows: int) -> Generator[Block, None, None]:
        """Yield blocks of at most ``max_rows`` records and about 64 MiB, from a position on.

        A block's extent depends on its start alone. Standard input cannot seek: it is read
        from its beginning, and its blocks are yielded from row 0 whatever ``start`` says.
        """
        stdin = self._source.is_stdin
        here = Position() if stdin else start
        stream = self._open(here.byte)
        try:
            records = self._records(stream, here.row)
            byte = here.byte
            hasher = xxhash.xxh3_64() if stdin else None
            if self._has_header and byte == 0:
                header = next(records, b"")
                self.header = header.removeprefix(UTF8_BOM)
                byte += len(header) + 1
                if hasher is not None:
                    hasher.update(header)
            for taken, size in _grouped(records, max_rows):
                byte += size
                block = _block(taken, here, byte, hasher)
                yield block
                here = block.end
        finally:
            if not stdin:
                stream.close()

    def fraction(self, position: Position) -> float:
        """Share of the file before a position; 0 for compressed text and standard input."""
        size = self._source.size
        if not size or self._source.path.endswith(COMPRESSED):
            return 0.0
        return min(1.0, position.byte / size)

    def _open(self, byte: int) -> BinaryIO:
        """Open at a byte of the uncompressed text."""
        if self._source.is_stdin:
            return sys.stdin.buffer
        with reading(self._source):
            stream = io.BufferedReader(pa.input_stream(self._source.path))
            while byte > 0:
                skipped = len(stream.read(min(byte, _PIECE_BYTES)))
                byte = byte - skipped if skipped else 0
            return stream

    def _records(self, stream: BinaryIO, row: int) -> Iterator[bytes]:
        """Yield records one by one; each piece of the file is scanned once."""
        begun: list[bytes] = []
        size = 0
        inside = False
        first = True
        while True:
            with reading(self._source, row):
                piece = stream.read(_PIECE_BYTES)
            if first and piece.startswith(_UTF16_BOMS):
                raise IngestError(
                    f"{self._source.path}: expected UTF-8 text, got UTF-16; convert the file first"
                )
            first = False
            if not piece:
                break
            records, inside = _split(piece, inside) if self._quoted else (piece.split(b"\n"), False)
            if len(records) > 1:
                records[0] = b"".join([*begun, records[0]])
                begun, size = [], 0
                yield from records[:-1]
                row += len(records) - 1
            begun.append(records[-1])
            size += len(records[-1])
            if size > MAX_RECORD_BYTES:
                cause = "a quote that never closes" if inside else "no line break"
                raise IngestError(
                    f"{self._source.path}: expected records of at most {MAX_RECORD_BYTES >> 20} MiB"
                    f", but row {row} has no end ({cause}); check the format, or repair the row"
                )
        if size:
            yield b"".join(begun)


def _grouped(records: Iterator[bytes], max_rows: int) -> Iterator[tuple[list[bytes], int]]:
    """Yield lists of records with their size in bytes; what is whole comes before an error."""
    taken: list[bytes] = []
    size = 0
    try:
        for record in records:
            taken.append(record)
            size += len(record) + 1
            if len(taken) == max_rows or size >= _BLOCK_BYTES:
                yield taken, size
                taken, size = [], 0
    except IngestError:
        if taken:
            yield taken, size
        raise
    if taken:
        yield taken, size


def _block(
    records: list[bytes], start: Position, byte: int, hasher: xxhash.xxh3_64 | None
) -> Block:
    digest = ""
    if hasher is not None:
        hasher.update(b"\n".join(records))
        digest = hasher.hexdigest()
    end = Position(row=start.row + len(records), byte=byte, digest=digest)
    return Block(records=records, start=start, end=end)


def _split(data: bytes, inside: bool) -> tuple[list[bytes], bool]:
    """Split at line breaks outside of quotes; return whether the end is inside of them."""
    if b'"' not in data:
        return ([data] if inside else data.split(b"\n")), inside
    text = np.frombuffer(data, np.uint8)
    quoted = (np.cumsum(text == ord('"')) + inside) & 1
    ends = np.flatnonzero((text == ord("\n")) & (quoted == 0))
    starts = np.concatenate([[0], ends + 1])
    return [data[i:j] for i, j in zip(starts, [*ends, len(data)], strict=True)], bool(quoted[-1])
