"""The seal of an index of words: its files and their checksums, written after each commit.

tantivy trusts what lies on the disk. A file that is damaged, or that belongs to another index,
would answer wrongly or crash, so nothing is opened that is not exactly what was written last.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from vecstore.storage import durable
from vecstore.storage.root import checksum

__all__ = ["is_sealed", "locked", "seal"]

_SEAL = "seal.json"
# tantivy's own list of files that it may delete; it answers nothing by it.
_UNSEALED = (_SEAL, ".managed.json")
_PATIENCE_S = 60.0
_PAUSE_S = 0.02


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep all other processes out of a folder, which may not exist yet.

    A process that is killed lets go of the lock. Where the disk is read-only there is nothing
    to keep them from.

    Raises
    ------
    TimeoutError
        Another process has been at it for a minute.
    """
    lock = folder.with_name(f".{folder.name}.lock")
    try:
        durable.make_folder(folder.parent)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        yield
        return
    try:
        _wait(descriptor, lock)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, lock: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{lock} is held by another process") from None
            time.sleep(_PAUSE_S)
        else:
            return


def seal(folder: Path) -> None:
    """Write down what the files of a folder are now."""
    content = {file.name: list(_identity(file)) for file in _files(folder)}
    with durable.appearing(folder / _SEAL) as temporary:
        temporary.write_text(json.dumps(content))


def is_sealed(folder: Path, verified: set[tuple[str, str]]) -> bool:
    """Say whether a folder's files are those that were sealed, or there are none at all.

    Parameters
    ----------
    verified : set of (str, str)
        Names and checksums that this process has verified; they are not read again, and the
        new ones are added.
    """
    if not folder.exists():
        return True
    try:
        content = json.loads((folder / _SEAL).read_bytes())
        for name, (size, digest) in content.items():
            path = folder / name
            if path.stat().st_size != size:
                return False
            if (name, digest) not in verified and _identity(path) != (size, digest):
                return False
        verified.update((name, digest) for name, (_, digest) in content.items())
    except (OSError, ValueError, TypeError, AttributeError):
        return False
    return "meta.json" in content


def _files(folder: Path) -> Iterator[Path]:
    for file in folder.iterdir():
        hidden = file.name in _UNSEALED or file.name.endswith(".lock")
        if file.is_file() and not hidden and not durable.is_temporary(file):
            yield file


def _identity(file: Path) -> tuple[int, str]:
    if not file.stat().st_size:
        return 0, checksum(b"")
    with pa.memory_map(str(file)) as mapped:
        content = mapped.read_buffer()
        return content.size, checksum(content)
