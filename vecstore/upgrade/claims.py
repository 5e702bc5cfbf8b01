"""Claims of one job: rows that it embeds just now and no other job should."""

from __future__ import annotations

import os
import socket
import uuid
from types import TracebackType
from typing import Self, final

import numpy as np
from numpy.typing import NDArray

from vecstore.catalog.claims import ClaimTable

__all__ = ["Claims"]

_LEASE_S = 600.0
"""How long a claim of another machine holds after it was last taken."""


@final
class Claims:
    """A context manager that gives back what it claimed.

    A job that was killed cannot. Its claims are void at once for jobs of the same machine, which
    see that its process is gone, and after ten minutes for others.
    """

    def __init__(self, table: ClaimTable, collection_id: str, space_id: str) -> None:
        self._table = table
        self._collection_id = collection_id
        self._space_id = space_id
        self._owner = f"{socket.gethostname()[:100]}:{os.getpid()}:{uuid.uuid4().hex}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._table.release(self._owner)

    def take(self, row_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Claim rows in the place of those claimed before; return those that nobody else has."""
        return self._table.take(
            self._collection_id,
            self._space_id,
            self._owner,
            row_ids,
            seconds=_LEASE_S,
            is_gone=_is_gone,
        )


def _is_gone(owner: str) -> bool:
    """Say whether an owner was a process of this machine that has ended."""
    host, pid, _ = owner.rsplit(":", 2)
    if host != socket.gethostname()[:100]:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
