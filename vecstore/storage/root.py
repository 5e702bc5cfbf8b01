"""The data root: where immutable files live and how one becomes durable.

A file is written under a temporary name, synced, renamed, and its folder synced. Nothing
refers to it until the catalog commits its path, size and checksum, so a crash leaves at
most an unreferenced file behind.
"""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import final

import pyarrow as pa
import xxhash

from vecstore.errors import CorruptFileError, StorageError
from vecstore.storage import durable

__all__ = ["DataRoot", "FoundFile", "LocalRoot", "StoredFile", "open_root"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A durable file: path relative to the root, size in bytes, xxh3-128 hex checksum."""

    path: str
    size: int
    checksum: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file as it lies there: path relative to the root, bytes, and when it was last written."""

    path: str
    size: int
    modified: datetime

    @property
    def is_temporary(self) -> bool:
        """Whether a write had not finished it."""
        return durable.is_temporary(PurePosixPath(self.path))


class DataRoot(ABC):
    """Where files live. Paths are relative, with forward slashes, and made by vecstore."""

    @property
    @abstractmethod
    def shown(self) -> str:
        """The place as messages name it: without credentials and options."""

    @abstractmethod
    def write(self, path: str, write: Callable[[pa.NativeFile], object]) -> StoredFile:
        """Make a new durable file from what ``write`` puts into the sink it is given."""

    @abstractmethod
    def write_local(self, path: str, write: Callable[[Path], object]) -> StoredFile:
        """Make a new durable file from what ``write`` writes at the local path it is given."""

    @abstractmethod
    def local_path(self, file: StoredFile) -> Path:
        """Return a local path of the verified content, for libraries that open files."""

    @abstractmethod
    def map(self, file: StoredFile) -> pa.Buffer:
        """Return the verified content without copying it where the place allows that.

        Raises
        ------
        CorruptFileError
            Missing, truncated, or the checksum differs from the catalog's.
        """

    @abstractmethod
    def map_cache(self, path: str) -> pa.Buffer | None:
        """Return the content of a cache file, which its reader must verify; None if absent."""

    @abstractmethod
    def cache_folder(self, path: str) -> Path | None:
        """Return a local folder for a cache whose files a library manages; None if there is none.

        It may not exist yet.
        """

    @abstractmethod
    def remove_tree(self, path: str) -> None:
        """Delete a folder and all below it; missing is fine."""

    @abstractmethod
    def found(self, path: str) -> Iterator[FoundFile]:
        """List the files at and below a folder, those nobody knows of included; by path."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Delete a file; missing is fine."""


def open_root(
    place: str | os.PathLike[str], *, cache: str | os.PathLike[str] | None = None
) -> DataRoot:
    """Open the data root at a folder, or at the URL of an object store with a local cache."""
    text = os.fspath(place)
    if "://" in text and not text.startswith("file://"):
        from vecstore.storage.remote import open_remote  # it needs this module

        return open_remote(text, cache=None if cache is None else Path(cache).absolute())
    return LocalRoot(Path(text.removeprefix("file://")))


@final
class LocalRoot(DataRoot):
    """A folder on a local file system; files are memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def shown(self) -> str:
        """See :attr:`DataRoot.shown`."""
        return str(self.folder)

    def write(self, path: str, write: Callable[[pa.NativeFile], object]) -> StoredFile:
        """See :meth:`DataRoot.write`.

        Raises
        ------
        StorageError
            The file system refused: full, read-only, no permission.
        """

        def write_stream(temporary: Path) -> None:
            with pa.OSFile(str(temporary), "wb") as sink:
                write(sink)

        return self.write_local(path, write_stream)

    def write_local(self, path: str, write: Callable[[Path], object]) -> StoredFile:
        """See :meth:`DataRoot.write_local`; raises StorageError as :meth:`write` does."""
        final_path = self._resolve(path)
        with _mapped_os_errors(final_path):
            durable.make_folder(final_path.parent)
            with durable.appearing(final_path) as temporary:
                write(temporary)
                with pa.memory_map(str(temporary)) as content:
                    buffer = content.read_buffer()
                stored = StoredFile(path=path, size=buffer.size, checksum=checksum(buffer))
        return stored

    def local_path(self, file: StoredFile) -> Path:
        """See :meth:`DataRoot.local_path`."""
        self.map(file)
        return self._resolve(file.path)

    def map(self, file: StoredFile) -> pa.Buffer:
        """See :meth:`DataRoot.map`."""
        path = self._resolve(file.path)
        try:
            # The buffer keeps the map alive, also after the file has been deleted.
            buffer = pa.memory_map(str(path)).read_buffer() if file.size else pa.py_buffer(b"")
        except FileNotFoundError as error:
            raise CorruptFileError(
                f"{path} is registered in the catalog but missing; restore it from a backup, or, "
                "if this is a version that expired while it was being read, read the newest one"
            ) from error
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error}") from error
        if buffer.size != file.size:
            raise CorruptFileError(
                f"{path}: expected {file.size} bytes, found {buffer.size}; restore it from a backup"
            )
        found = checksum(buffer)
        if found != file.checksum:
            raise CorruptFileError(
                f"{path}: expected xxh3-128 checksum {file.checksum}, found {found}; "
                "restore it from a backup"
            )
        return buffer

    def map_cache(self, path: str) -> pa.Buffer | None:
        """See :meth:`DataRoot.map_cache`."""
        try:
            return pa.memory_map(str(self._resolve(path))).read_buffer()
        except OSError:  # an empty file cannot be mapped and is no cache either
            return None

    def cache_folder(self, path: str) -> Path | None:
        """See :meth:`DataRoot.cache_folder`."""
        return self._resolve(path)

    def remove_tree(self, path: str) -> None:
        """See :meth:`DataRoot.remove_tree`."""
        folder = self._resolve(path)
        with _mapped_os_errors(folder):
            durable.remove_tree(folder)

    def found(self, path: str) -> Iterator[FoundFile]:
        """See :meth:`DataRoot.found`."""
        for file in sorted(self._resolve(path).rglob("*")):
            try:
                status = file.lstat()
            except FileNotFoundError:  # removed or renamed meanwhile
                continue
            if not stat.S_ISDIR(status.st_mode):
                yield FoundFile(
                    path=file.relative_to(self.folder).as_posix(),
                    size=status.st_size,
                    modified=datetime.fromtimestamp(status.st_mtime, UTC),
                )

    def remove(self, path: str) -> None:
        """See :meth:`DataRoot.remove`."""
        with _mapped_os_errors(self._resolve(path)):
            durable.remove_file(self._resolve(path))

    def _resolve(self, path: str) -> Path:
        """Return the absolute path; a path that leaves the root comes from a damaged catalog."""
        return self.folder.joinpath(*checked_parts(path))


def checked_parts(path: str) -> tuple[str, ...]:
    """Return the parts of a path below the root.

    Raises
    ------
    CorruptFileError
        It leads out of the root: it comes from a damaged catalog.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise CorruptFileError(f"the catalog names {path!r}, which is outside the data root")
    return parts


def checksum(content: pa.Buffer | bytes) -> str:
    """Return the xxh3-128 hex digest (fast enough to verify every file when it is mapped)."""
    return xxhash.xxh3_128_hexdigest(memoryview(content))


_REMEDIES = {
    errno.ENOSPC: "the disk is full; free space and retry",
    errno.EDQUOT: "the disk quota is used up; free space and retry",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied; check the owner and mode of the data root",
    errno.EPERM: "permission denied; check the owner and mode of the data root",
}


@contextmanager
def _mapped_os_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says into StorageError with a remedy."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "nothing was committed")
        raise StorageError(f"cannot write {path}: {error.strerror or error}; {remedy}") from error
