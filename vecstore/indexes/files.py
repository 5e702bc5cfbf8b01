"""The index file: the library's own bytes, followed by a trailer that says what they are.

A trailer and not a header, because FAISS maps files from their first byte: the file stays
one that FAISS itself can open. The trailer binds the bytes to kind, metric, dimension,
size, parameters and a checksum, so nothing foreign or damaged ever reaches FAISS's parser,
which was not written for hostile input.

Layout: payload | JSON header | the header's XXH3-64 | its length | ``VSINDEX1``, the last
three of 8 bytes each, numbers little endian.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import xxhash

from vecstore.errors import CorruptFileError, StorageError
from vecstore.indexes.parameters import ParameterValue

__all__ = ["IndexHeader", "measure", "read_header", "seal", "verify"]

_MAGIC = b"VSINDEX1"
_TAIL = 16 + len(_MAGIC)
_HEADER_LIMIT = 2**20


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class IndexHeader:
    """What an index file's payload is.

    Parameters
    ----------
    kind : str
    metric : str
        "ip" or "l2".
    dim, rows : int
    parameters : mapping
        Every parameter's value.
    payload_bytes : int
    checksum : str
        XXH3-128 of the payload, hexadecimal.
    """

    kind: str
    metric: str
    dim: int
    rows: int
    parameters: Mapping[str, ParameterValue]
    payload_bytes: int
    checksum: str


def measure(payload: Path | bytes) -> tuple[int, str]:
    """Return the size in bytes and the checksum of a payload, in memory or alone in a file."""
    size = len(payload) if isinstance(payload, bytes) else payload.stat().st_size
    return size, _checksum(payload, size)


def seal(header: IndexHeader) -> bytes:
    """Return the trailer that follows the payload."""
    text = json.dumps(asdict(header), sort_keys=True).encode()
    return text + _digest(text) + len(text).to_bytes(8, "little") + _MAGIC


def read_header(source: Path | bytes) -> IndexHeader:
    """Read the trailer of an index file, or of its bytes in memory.

    Raises
    ------
    CorruptFileError
        Not an index file, or cut short.
    StorageError
        The file cannot be read.
    """
    if isinstance(source, bytes):
        return _parse(source[-(_TAIL + _HEADER_LIMIT) :], len(source), "these bytes")
    try:
        size = source.stat().st_size
        with source.open("rb") as file:
            file.seek(max(0, size - _TAIL - _HEADER_LIMIT))
            return _parse(file.read(), size, f"index file {source}")
    except OSError as error:
        raise StorageError(f"cannot read index file {source}: {error}") from error


def verify(source: Path | bytes, header: IndexHeader) -> None:
    """Check the payload against the header's checksum.

    Raises
    ------
    CorruptFileError
        They differ.
    """
    actual = _checksum(source, header.payload_bytes)
    if actual != header.checksum:
        name = "these bytes" if isinstance(source, bytes) else f"index file {source}"
        raise CorruptFileError(
            f"{name} should have checksum {header.checksum} but has {actual}; "
            "the index is a cache: delete it and build it again"
        )


def _digest(text: bytes) -> bytes:
    """Hash a header to 8 bytes."""
    return xxhash.xxh3_64_intdigest(text).to_bytes(8, "little")


def _checksum(source: Path | bytes, size: int) -> str:
    """Hash the first ``size`` bytes."""
    if isinstance(source, bytes):
        return str(xxhash.xxh3_128_hexdigest(memoryview(source)[:size]))
    if size == 0:  # which mmap refuses
        return str(xxhash.xxh3_128_hexdigest(b""))
    with (
        source.open("rb") as file,
        mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as mapped,
    ):
        return str(xxhash.xxh3_128_hexdigest(mapped))


def _parse(tail: bytes, size: int, name: str) -> IndexHeader:
    """Parse the last bytes of a file of the given size."""
    advice = "the index is a cache: delete it and build it again"
    if len(tail) < _TAIL or tail[-len(_MAGIC) :] != _MAGIC:
        raise CorruptFileError(
            f"{name} should end in the mark of a vecstore index but does not: "
            f"cut short, or another format; {advice}"
        )
    length = int.from_bytes(tail[-16 : -len(_MAGIC)], "little")
    if length > min(_HEADER_LIMIT, len(tail) - _TAIL):
        raise CorruptFileError(f"{name} claims a header of {length} bytes; {advice}")
    text = tail[len(tail) - _TAIL - length : len(tail) - _TAIL]
    if _digest(text) != tail[-_TAIL:-16]:
        raise CorruptFileError(f"{name} has a damaged header; {advice}")
    try:
        fields = json.loads(text)
        header = IndexHeader(**fields)
        numbers = (header.dim, header.rows, header.payload_bytes)
        texts = (header.kind, header.metric, header.checksum)
        sound = (
            all(type(number) is int and number >= 0 for number in numbers)
            and all(type(text) is str for text in texts)
            and isinstance(header.parameters, dict)
        )
    except (ValueError, TypeError) as error:
        raise CorruptFileError(f"{name} has an unreadable header: {error}; {advice}") from error
    if not sound or header.payload_bytes != size - _TAIL - length:
        raise CorruptFileError(
            f"{name} has {size - _TAIL - length} payload bytes but its header says "
            f"{header}; {advice}"
        )
    return header
