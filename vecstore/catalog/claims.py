"""Who is embedding which rows just now, so that two jobs do not embed the same ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, insert, select

from vecstore.catalog import tables
from vecstore.catalog.engine import Database, retried

__all__ = ["ClaimTable"]


@final
class ClaimTable:
    """Rows that jobs have taken, each until a moment that its owner keeps moving."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retried
    def take(
        self,
        collection_id: str,
        space_id: str,
        owner: str,
        row_ids: NDArray[np.int64],
        *,
        seconds: float,
        is_gone: Callable[[str], bool],
    ) -> NDArray[np.int64]:
        """Claim rows in the place of what the owner had claimed; return those that are free.

        Parameters
        ----------
        seconds : float
            How long the claim holds unless it is taken again.
        is_gone : callable
            Says of another owner that its claims are void.
        """
        table, now = tables.claims, time.time()
        with self._database.write() as connection:
            # The row of the collection is the lock; SQLite has locked everything already.
            lock = select(tables.collections.c.id).where(tables.collections.c.id == collection_id)
            connection.execute(lock.with_for_update())
            mine = table.c.owner == owner
            others = connection.execute(
                select(table).where(table.c.space_id == space_id, ~mine)
            ).all()
            void = [o.owner for o in others if o.expires < now or is_gone(o.owner)]
            taken = [np.frombuffer(o.row_ids, np.int64) for o in others if o.owner not in void]
            free = row_ids[~np.isin(row_ids, np.concatenate(taken))] if taken else row_ids
            connection.execute(delete(table).where(table.c.owner.in_([owner, *void])))
            if len(free):
                connection.execute(
                    insert(table).values(
                        owner=owner,
                        collection_id=collection_id,
                        space_id=space_id,
                        expires=now + seconds,
                        row_ids=free.astype(np.int64).tobytes(),
                    )
                )
        return free

    @retried
    def release(self, owner: str) -> None:
        """Give back what an owner has claimed."""
        with self._database.write() as connection:
            connection.execute(delete(tables.claims).where(tables.claims.c.owner == owner))
