"""The steps of a durable write on a local disk; the only module that makes or removes files.

What a function has returned survives a power cut. Each step passes its failpoint, so that the
crash tests can stop a process between any two of them.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import BinaryIO

from vecstore.storage.failpoints import Failpoint, reach

__all__ = [
    "appearing",
    "append",
    "is_temporary",
    "make_folder",
    "move",
    "remove_file",
    "remove_tree",
    "sync_folder",
]

_SUFFIX = ".tmp"


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Give a file that appears whole or not at all, in the place of one of the same name.

    Yields
    ------
    Path
        A temporary name beside it, to be written under. When the block ends, the content is
        synced, renamed, and the folder synced; if it fails, nothing is left.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_SUFFIX}")
    try:
        reach(Failpoint.FILE_WRITE, path)
        yield temporary
        reach(Failpoint.FILE_SYNC, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        reach(Failpoint.FILE_RENAME, temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # what went wrong first is what the caller must hear
            remove_file(temporary)
        raise
    reach(Failpoint.FILE_RENAMED, path)
    sync_folder(path.parent)


def is_temporary(path: PurePath) -> bool:
    """Say whether a file is one that :func:`appearing` had not finished."""
    return path.name.startswith(".") and path.name.endswith(_SUFFIX)


def append(file: BinaryIO, data: bytes) -> None:
    """Write at the end of an open file, and wait until it is on disk."""
    reach(Failpoint.APPEND_WRITE, file.name)
    file.write(data)
    file.flush()
    reach(Failpoint.APPEND_SYNC, file.name)
    os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """Create a folder and make its entry in every new parent durable."""
    new: list[Path] = []
    while not folder.is_dir():
        new.insert(0, folder)
        folder = folder.parent
    for made in new:
        reach(Failpoint.FOLDER_MAKE, made)
        made.mkdir(exist_ok=True)
    # When all are made: a file system's journal takes them at once with the first sync.
    for made in new:
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Make renames, creations and removals inside the folder durable."""
    reach(Failpoint.FOLDER_SYNC, folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move(source: Path, target: Path) -> None:
    """Give a file another name; it may have the old one again after a power cut."""
    reach(Failpoint.FILE_RENAME, source)
    source.replace(target)


def remove_file(path: Path) -> None:
    """Delete a file; missing is fine. It may come back after a power cut."""
    reach(Failpoint.FILE_REMOVE, path)
    path.unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Delete a folder and all below it, or a file that took its place; missing is fine.

    It may come back after a power cut.
    """
    reach(Failpoint.TREE_REMOVE, folder)
    if folder.is_dir():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)
