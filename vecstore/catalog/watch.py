"""Watch: whether a SQLite catalog was committed to, asked by every query and answered without SQL.

The file system knows, but a system call after a search, which leaves no cache warm, takes as long
as everything else around the search. So who commits gives a sign: a few bytes of a file beside the
catalog change, which every process has mapped.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import TypeAlias, final

__all__ = ["CLOCK_TICK_NS", "ChangeToken", "Watch"]

ChangeToken: TypeAlias = tuple[bytes | int, ...]

# Linux before 6.13 stamps files with the time of the last timer interrupt, up to 10 ms ago.
CLOCK_TICK_NS = 20_000_000
_SIGN_BYTES = 8
_LOOK_AGAIN_S = 0.05


@final
class Watch:
    """Watches the files of one SQLite database. Thread-safe.

    Parameters
    ----------
    database : str
        Path of the database file.
    """

    def __init__(self, database: str) -> None:
        # Every commit writes to the first, and the second has it all while the first is missing.
        self._files = (f"{database}-wal", database)
        self._sign_path = f"{database}-sign"
        self._sign: mmap.mmap | None = None
        self._last: tuple[bytes, float, ChangeToken | None] = (b"", 0.0, None)

    def token(self) -> ChangeToken | None:
        """Return a value that changes with every commit, before it is acknowledged; None without.

        The sign tells at once. A commit that gave none, of a process that was killed before it
        could or of another program, is seen when the files are looked at, every 0.05 s, or every
        time where there can be no sign.
        """
        sign, until, token = self._last
        mapped = self._sign
        if mapped is not None and mapped[:_SIGN_BYTES] == sign and time.monotonic() < until:
            return token
        return self._look()

    def sign(self) -> None:
        """Say that a commit can be read from now on.

        SQLite writes a commit to the WAL, waits for the disk, and only then lets readers see it.
        Who looked at WAL and catalog in between has seen the one and not the other.
        """
        try:
            file = os.open(self._sign_path, os.O_WRONLY)
        except OSError:
            return  # nobody has mapped it
        try:
            os.pwrite(file, os.urandom(_SIGN_BYTES), 0)
        except OSError:
            pass  # the files tell, if later
        finally:
            os.close(file)

    def _look(self) -> ChangeToken | None:
        """Look at the files.

        A WAL that is emptied, removed or begun again is another one by time, size or inode: that
        costs whoever looks a question to the catalog and hides nothing. One that is overwritten
        keeps its size, so a change within the last tick of the file system's clock may not be the
        last one with that time: until the tick is over the token is another one every time.
        """
        until = time.monotonic() + _LOOK_AGAIN_S
        token: ChangeToken | None = None
        for path in self._files:
            try:
                stat = os.stat(path)  # noqa: PTH116 - Path costs five times as much
            except FileNotFoundError:
                continue
            if self._sign is None:
                self._sign = _mapped(self._sign_path)
            sign = b"" if self._sign is None else self._sign[:_SIGN_BYTES]
            changed, now = stat.st_mtime_ns, time.time_ns()
            token = (sign, changed, stat.st_size, stat.st_ino)
            if now - changed < CLOCK_TICK_NS:
                token = (*token, now)
            self._last = (sign, until, token)
            break
        return token


def _mapped(path: str) -> mmap.mmap | None:
    """Map the sign, making it where nobody has; None where that cannot be.

    Written and never stored to through the map: on a full disk that ends a process.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return None
    try:
        if os.fstat(file).st_size < _SIGN_BYTES:
            os.pwrite(file, os.urandom(_SIGN_BYTES), 0)
        return mmap.mmap(file, _SIGN_BYTES, prot=mmap.PROT_READ)
    except (OSError, ValueError):
        return None
    finally:
        os.close(file)
