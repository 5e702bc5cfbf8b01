"""Indexes over translated vectors, when the translator has been replaced."""

from __future__ import annotations

from typing import cast

from vecstore.catalog import Catalog
from vecstore.indexing import build_index, index_view, register_index
from vecstore.search.plan import Execution
from vecstore.snapshot import Snapshot
from vecstore.translation import Translators

__all__ = ["rebuild_indexes"]


def rebuild_indexes(
    catalog: Catalog,
    collection_id: str,
    snapshot: Snapshot,
    translators: Translators,
    *,
    replaced: str,
    target: str,
) -> None:
    """Build each index whose view ended in a translator that was replaced, and drop the old one.

    Indexes of chains that only pass through it are dropped: their searches are exact until
    somebody builds them again.

    Parameters
    ----------
    replaced : str
        The old translator, which led into the space ``target``.
    """
    for old in catalog.indexes(collection_id):
        route = (old.translator_id or "").split("+")
        if replaced not in route:
            continue
        if route == [replaced] and old.space in snapshot.spaces:
            view = index_view(
                snapshot,
                old.space,
                into=target,
                execution=cast(Execution, old.execution),
                translators=translators,
            )
            new = build_index(
                view,
                snapshot,
                kind=old.kind,
                parameters=old.parameters,
                progress=None,
            )
            register_index(catalog, collection_id, new)
        catalog.replace_index(collection_id, None, replaced=(old.id,))
