"""What searches have asked for, in parts that writers add and fold. It belongs to no version."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import final

from sqlalchemy import delete, insert, select

from vecstore.catalog import tables
from vecstore.catalog.engine import Database, retried

__all__ = ["DemandTable"]


@final
class DemandTable:
    """Parts of the demand of collections, each a few bytes that the catalog does not look into."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retried
    def read(self, collection_id: str) -> dict[str, bytes]:
        """Return all parts by their ids."""
        table = tables.demand
        with self._database.read() as connection:
            rows = connection.execute(select(table).where(table.c.collection_id == collection_id))
            return {row.id: bytes(row.counts) for row in rows}

    def replace(self, collection_id: str, counts: bytes, *, folded: Sequence[str] = ()) -> bool:
        """Add a part that stands for those it was folded from as well.

        Returns
        -------
        bool
            False, and nothing is changed, if another writer has folded one of them meanwhile.
        """
        return self._replace(collection_id, counts, tuple(folded), uuid.uuid4().hex)

    @retried
    def _replace(
        self, collection_id: str, counts: bytes, folded: tuple[str, ...], new: str
    ) -> bool:
        """Replace once, however often it is tried: the new part has its id beforehand."""
        table = tables.demand
        with self._database.write() as connection:
            ours = select(table.c.id).where(table.c.id == new)
            if connection.execute(ours).scalar_one_or_none() is not None:
                return True
            known = select(table.c.id).where(table.c.id.in_(folded)).with_for_update()
            if len(connection.execute(known).all()) < len(folded):
                return False
            connection.execute(delete(table).where(table.c.id.in_(folded)))
            connection.execute(
                insert(table).values(id=new, collection_id=collection_id, counts=counts)
            )
        return True
