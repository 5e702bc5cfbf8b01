"""RemoteRoot: a data root on an object store, through ``pyarrow.fs``.

An object is put whole, so nobody ever sees half of one. What is read is mapped from a local
cache that is bounded in bytes, checked against the catalog's checksums, and may be shared by
processes. Whatever fails for a moment is tried again; messages name places without credentials.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, final
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from vecstore.errors import CorruptFileError, InvalidArgumentError, StorageError
from vecstore.storage import durable
from vecstore.storage.root import DataRoot, FoundFile, StoredFile, checked_parts, checksum

__all__ = ["CACHE_BYTES", "RemoteRoot", "open_remote"]

T = TypeVar("T")

CACHE_BYTES = 16 << 30
ATTEMPTS = 6
FIRST_PAUSE_S = 0.1
_TIMEOUT_S = 30
_PIECE = 8 << 20
# What was used this recently is never evicted: somebody may be about to open it.
_IN_USE_S = 60
_S3_OPTIONS = ("endpoint_override", "scheme", "region", "anonymous")


def open_remote(url: str, *, cache: Path | None, cache_bytes: int = CACHE_BYTES) -> RemoteRoot:
    """Open a data root by its URL, such as ``s3://bucket/prefix?region=eu-central-1``.

    Credentials come from the environment as the provider has it (``AWS_ACCESS_KEY_ID``...).

    Parameters
    ----------
    cache : Path or None
        Folder of the local cache; by default one below ``XDG_CACHE_HOME`` or ``~/.cache``.

    Raises
    ------
    InvalidArgumentError
        The URL is not one of an object store, or has unknown options.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidArgumentError("the data root's URL cannot be read; check it") from error
    shown = f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"
    secrets = tuple(unquote(s) for s in (parts.username, parts.password) if s)
    try:
        if parts.scheme == "s3":
            system, prefix = _s3(parts.query, secrets), f"{host or ''}{unquote(parts.path)}"
        else:
            system, prefix = fs.FileSystem.from_uri(url)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = _without(secrets, str(error))
        raise InvalidArgumentError(
            f"data root {shown!r}: expected a folder or the URL of an object store, such as "
            f"'s3://bucket/prefix?region=eu-central-1': {reason}"
        ) from None
    folder = cache or _default_cache() / checksum(f"{shown}?{parts.query}".encode())
    return RemoteRoot(
        system,
        prefix.rstrip("/"),
        shown=shown,
        cache=folder,
        cache_bytes=cache_bytes,
        secrets=secrets,
    )


@final
class RemoteRoot(DataRoot):
    """Objects below a prefix. Thread-safe; its cache may be shared by processes."""

    def __init__(
        self,
        system: fs.FileSystem,
        prefix: str,
        *,
        shown: str,
        cache: Path,
        cache_bytes: int = CACHE_BYTES,
        secrets: tuple[str, ...] = (),
    ) -> None:
        self._system = system
        self._prefix = prefix
        self._shown = shown.rstrip("/")
        self._secrets = secrets
        self._cache = cache
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<RemoteRoot {self._shown}>"

    @property
    def shown(self) -> str:
        """See :attr:`DataRoot.shown`."""
        return self._shown

    def write(self, path: str, write: Callable[[pa.NativeFile], object]) -> StoredFile:
        """See :meth:`DataRoot.write`.

        Raises
        ------
        StorageError
            The object store refused, or did not answer for long.
        """

        def write_stream(temporary: Path) -> None:
            with pa.OSFile(str(temporary), "wb") as sink:
                write(sink)

        return self.write_local(path, write_stream)

    def write_local(self, path: str, write: Callable[[Path], object]) -> StoredFile:
        """See :meth:`DataRoot.write_local`; raises StorageError as :meth:`write` does."""
        key = self._key(path)
        staged = self._cache / "named" / path
        try:
            durable.make_folder(staged.parent)
            with durable.appearing(staged) as temporary:
                write(temporary)
                buffer = pa.memory_map(str(temporary)).read_buffer()
                stored = StoredFile(path=path, size=buffer.size, checksum=checksum(buffer))
                self._retried(f"write {path}", lambda: self._put(key, buffer))
            # From now on it is known by its content.
            known = self._known(stored)
            durable.make_folder(known.parent)
            durable.move(staged, known)
        except OSError as error:
            raise StorageError(
                f"cannot write below the cache {self._cache}: {error.strerror or error}; "
                "free space, or pass another folder as cache="
            ) from error
        self._evict()
        return stored

    def local_path(self, file: StoredFile) -> Path:
        """See :meth:`DataRoot.local_path`."""
        self.map(file)
        return self._known(file)

    def map(self, file: StoredFile) -> pa.Buffer:
        """See :meth:`DataRoot.map`.

        Raises
        ------
        StorageError
            The object store did not answer for long.
        """
        if not file.size:
            return pa.py_buffer(b"")
        cached = self._mapped(self._known(file))
        if cached is not None and cached.size == file.size and checksum(cached) == file.checksum:
            return cached
        buffer = self._retried(f"read {file.path}", lambda: self._fetched(file))
        self._evict()
        return buffer

    def map_cache(self, path: str) -> pa.Buffer | None:
        """See :meth:`DataRoot.map_cache`; what another machine made is fetched."""
        local = self._cache / "named" / self._checked(path)
        found = self._mapped(local)
        if found is not None:
            return found
        try:
            self._retried(f"read {path}", lambda: self._download(path, local))
        except (CorruptFileError, StorageError):
            return None
        return self._mapped(local)

    def cache_folder(self, path: str) -> Path | None:
        """See :meth:`DataRoot.cache_folder`; it is of this machine alone."""
        return self._cache / "folders" / self._checked(path)

    def remove_tree(self, path: str) -> None:
        """See :meth:`DataRoot.remove_tree`."""
        for found in list(self.found(path)):
            self.remove(found.path)

    def found(self, path: str) -> Iterator[FoundFile]:
        """See :meth:`DataRoot.found`."""
        selector = fs.FileSelector(self._key(path), recursive=True, allow_not_found=True)
        infos = self._retried(f"list {path}", lambda: self._system.get_file_info(selector))
        for info in sorted(infos, key=lambda info: info.path):
            if info.type == fs.FileType.File:
                yield FoundFile(
                    path=info.path.removeprefix(f"{self._prefix}/"),
                    size=info.size,
                    modified=info.mtime or datetime.now(UTC),
                )

    def remove(self, path: str) -> None:
        """See :meth:`DataRoot.remove`."""
        key = self._key(path)

        def delete() -> None:
            if self._system.get_file_info(key).type == fs.FileType.File:
                self._system.delete_file(key)

        self._retried(f"delete {path}", delete)
        durable.remove_file(self._cache / "named" / path)

    # Objects

    def _put(self, key: str, buffer: pa.Buffer) -> None:
        """Put an object, and see that the store has all of it."""
        with self._system.open_output_stream(key) as sink:
            sink.write(buffer)
        size = self._system.get_file_info(key).size
        if size != buffer.size:
            raise OSError(f"put {buffer.size} bytes, the store has {size}")

    def _fetched(self, file: StoredFile) -> pa.Buffer:
        """Fetch a file into the cache and verify it there."""
        known = self._known(file)
        self._download(file.path, known)
        buffer = self._mapped(known)
        found = "nothing" if buffer is None else f"{buffer.size} bytes of {checksum(buffer)}"
        if buffer is None or found != f"{file.size} bytes of {file.checksum}":
            durable.remove_file(known)
            # A body that was cut short comes whole another time; a damaged object does not.
            raise _WrongContentError(
                f"{self._shown}/{file.path}: expected {file.size} bytes of xxh3-128 checksum "
                f"{file.checksum}, found {found}; restore it from a backup"
            )
        return buffer

    def _download(self, path: str, target: Path) -> None:
        durable.make_folder(target.parent)
        try:
            source = self._system.open_input_file(self._key(path))
        except FileNotFoundError:
            raise CorruptFileError(
                f"{self._shown}/{path} is registered in the catalog but missing; restore it from "
                "a backup, or, if this is a version that expired while it was being read, read the "
                "newest one"
            ) from None
        with source, durable.appearing(target) as part, part.open("wb") as sink:
            while piece := source.read(_PIECE):
                sink.write(piece)

    def _retried(self, what: str, action: Callable[[], T]) -> T:
        """Do something again, after pauses of 0.1 to 3 seconds, while the store gives way."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return action()
            except _WrongContentError as error:
                if attempt == ATTEMPTS:
                    raise CorruptFileError(str(error)) from None
            except (OSError, pa.ArrowException) as error:
                refused = isinstance(error, PermissionError) or "ACCESS_DENIED" in str(error)
                if attempt == ATTEMPTS or refused:
                    reason = _without(self._secrets, str(error))
                    raise StorageError(
                        f"{self._shown}: cannot {what}: {reason}; nothing was committed. "
                        "Check the credentials and the connection, then retry"
                    ) from None
            time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1))
        raise AssertionError("unreachable")

    def _checked(self, path: str) -> str:
        return "/".join(checked_parts(path))

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{self._checked(path)}"

    # The cache: files named after their content, and derived ones by their path

    def _known(self, file: StoredFile) -> Path:
        return self._cache / "content" / file.checksum[:2] / f"{file.checksum}-{file.size}"

    def _mapped(self, path: Path) -> pa.Buffer | None:
        """Map a cached file and note that it was used."""
        try:
            buffer = pa.memory_map(str(path)).read_buffer()
            os.utime(path)
        except OSError:
            return None
        return buffer

    def _evict(self) -> None:
        """Delete what was used longest ago, until the cache is within its bounds."""
        with self._lock:
            files = []
            for kind in ("content", "named"):
                for folder, _, names in os.walk(self._cache / kind):
                    for name in names:
                        path = Path(folder, name)
                        try:
                            status = path.stat()
                        except FileNotFoundError:  # another process evicts, too
                            continue
                        files.append((status.st_mtime, status.st_size, path))
            size = sum(bytes_ for _, bytes_, _ in files)
            for used, bytes_, path in sorted(files):
                if size <= self._cache_bytes or time.time() - used < _IN_USE_S:
                    return
                durable.remove_file(path)
                size -= bytes_


class _WrongContentError(Exception):
    """What was fetched is not what was stored."""


def _s3(query: str, secrets: tuple[str, ...]) -> fs.FileSystem:
    options = dict(parse_qsl(query))
    unknown = set(options) - set(_S3_OPTIONS)
    if unknown:
        raise ValueError(
            f"unknown options {', '.join(sorted(unknown))}; there are {', '.join(_S3_OPTIONS)}"
        )
    if options.get("anonymous"):
        options["anonymous"] = options["anonymous"] == "true"  # type: ignore[assignment]
    keys = dict(zip(("access_key", "secret_key"), secrets, strict=False))
    return fs.S3FileSystem(
        allow_delayed_open=True,  # one request for a small object
        **options,
        **keys,
        connect_timeout=_TIMEOUT_S,
        request_timeout=_TIMEOUT_S,
        # Tried again here, where everything else is.
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
    )


def _without(secrets: tuple[str, ...], text: str) -> str:
    """Return a message without credentials."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vecstore"
