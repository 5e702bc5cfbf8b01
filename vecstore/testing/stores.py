"""The contract of a collection: a plain dictionary that does the same, and brute force over it.

Apply every write to a :class:`CollectionModel` as well, and at any moment hold the collection,
or one of its versions, against it::

    model = CollectionModel()
    model.add_space(collection.create_space("v1", dim=3))
    collection.upsert(ids=["a"], vectors=[[1, 2, 3]])
    model.upsert(["a"], {"v1": [[1, 2, 3]]})
    check_items(collection, model)
    check_search(collection, model, queries, space="v1", k=5)

The checks raise ``AssertionError`` with what they saw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.errors import NoRouteError
from vecstore.filters import Where
from vecstore.hits import Hits, SearchResult
from vecstore.reading import Readable
from vecstore.spaces import Space

__all__ = ["CollectionModel", "ModelItem", "check_items", "check_search", "tolerance"]

Keep = Callable[["ModelItem"], bool]


@final
@dataclass(slots=True, kw_only=True)
class ModelItem:
    """An item; vectors by space, float64, as exactly as the space's type stores them."""

    id: str
    document: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    vectors: dict[str, NDArray[np.float64]] = field(default_factory=dict)


@final
class CollectionModel:
    """What a collection holds, as a dictionary in the order of writing.

    Attributes
    ----------
    spaces : dict of str to Space
    items : dict of str to ModelItem
        An upserted item moves to the end, as it becomes a new row.
    columns : dict of str to None
        Metadata columns ever seen, in order.
    """

    def __init__(self) -> None:
        self.spaces: dict[str, Space] = {}
        self.items: dict[str, ModelItem] = {}
        self.columns: dict[str, None] = {}

    def copy(self) -> Self:
        """Return a model that later writes do not change."""
        other = type(self)()
        other.spaces, other.columns = dict(self.spaces), dict(self.columns)
        other.items = {
            item.id: ModelItem(
                id=item.id,
                document=item.document,
                metadata=item.metadata,
                vectors=dict(item.vectors),
            )
            for item in self.items.values()
        }
        return other

    def add_space(self, space: Space) -> None:
        """Take in a new space."""
        self.spaces[space.name] = space

    def drop_space(self, name: str) -> None:
        """Forget a space and its vectors."""
        del self.spaces[name]
        for item in self.items.values():
            item.vectors.pop(name, None)

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Mapping[str, ArrayLike] | None = None,
        documents: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> int:
        """Replace or insert whole items; return how many were replaced."""
        stored = {name: self.stored(name, rows) for name, rows in (vectors or {}).items()}
        replaced = 0
        for number, name in enumerate(ids):
            replaced += self.items.pop(name, None) is not None
            values = dict(metadata[number]) if metadata is not None else {}
            self.columns |= dict.fromkeys(values)
            self.items[name] = ModelItem(
                id=name,
                document=None if documents is None else documents[number],
                metadata=values,
                vectors={space: rows[number] for space, rows in stored.items()},
            )
        return replaced

    def add_vectors(
        self,
        ids: Sequence[str],
        vectors: ArrayLike,
        space: str,
        on_existing: Literal["skip", "replace"],
    ) -> tuple[int, int, int]:
        """Attach vectors; return how many were written, replaced and skipped."""
        written = replaced = skipped = 0
        for name, row in zip(ids, self.stored(space, vectors), strict=True):
            known = space in self.items[name].vectors
            if known and on_existing == "skip":
                skipped += 1
                continue
            self.items[name].vectors[space] = row
            written += 1
            replaced += known
        return written, replaced, skipped

    def delete(self, ids: Sequence[str]) -> int:
        """Delete items; return how many there were."""
        return sum(self.items.pop(name, None) is not None for name in dict.fromkeys(ids))

    def stored(self, space: str, vectors: ArrayLike) -> NDArray[np.float64]:
        """Return vectors as a space keeps them: unit norm under cosine, rounded to its type."""
        rows = np.asarray(vectors, dtype=np.float64)
        if self.spaces[space].normalised and rows.size:
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows.astype(self.spaces[space].dtype).astype(np.float64)
        if self.spaces[space].normalised and rows.size:
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    def native(self, space: str, keep: Keep | None = None) -> list[ModelItem]:
        """Return the items with a vector in a space that a predicate keeps, in write order."""
        return [
            item
            for item in self.items.values()
            if space in item.vectors and (keep is None or keep(item))
        ]

    def scores(
        self, queries: ArrayLike, space: str, items: Sequence[ModelItem]
    ) -> NDArray[np.float64]:
        """Return the true score of every item for every query, in float64."""
        left = np.atleast_2d(np.asarray(queries, dtype=np.float64))
        if not items:
            return np.empty((len(left), 0))
        right = np.stack([item.vectors[space] for item in items])
        metric = self.spaces[space].metric
        if metric == "l2":
            distances: NDArray[np.float64] = np.square(left[:, None] - right[None]).sum(axis=2)
            return -distances
        if metric == "cosine":
            left = left / np.linalg.norm(left, axis=1, keepdims=True)
        products: NDArray[np.float64] = left @ right.T
        return products


def tolerance(space: Space, queries: ArrayLike, rows: Sequence[ModelItem]) -> float:
    """Return by how much a score may differ from the true one.

    Scores are float32 sums of products of the two lengths: 2e-6 of their square (squared
    distances of a batch are computed from products). A float16 space rounds a component
    once more than the model may where normalising in float32 or in float64 falls on two
    sides of a rounding boundary: 2^-10 of the lengths.
    """
    unit = 2e-6 if space.dtype == "float32" else 2.0**-10
    if space.normalised:
        return 2 * unit
    longest = max((float(np.linalg.norm(item.vectors[space.name])) for item in rows), default=0.0)
    query = float(np.linalg.norm(np.atleast_2d(np.asarray(queries, np.float64)), axis=1).max())
    # Vectors that are not normalised are rounded alike by both, so only float32 sums remain.
    return 2e-6 * max(1.0, (longest + query) ** 2)


def check_items(reader: Readable, model: CollectionModel) -> None:
    """Hold everything that can be read, except searches, against the model."""
    assert len(reader) == reader.count() == len(model.items)
    assert list(reader.spaces) == list(model.spaces)
    for name, status in reader.spaces.items():
        native = len(model.native(name))
        share = native / len(model.items) if model.items else 0.0
        assert (status.native, status.live) == (native, len(model.items)), (name, status)
        assert status.coverage == share
        assert status.space == model.spaces[name]
    assert reader.schema.names == ["id", "document", *model.columns]
    spaces = list(model.spaces)
    found = reader.get(list(reversed(model.items)), spaces=spaces)
    for item, expected in zip(found, reversed(model.items.values()), strict=True):
        _check_item(model, item.id, item.document, item.metadata, item.vectors, expected)
    rows = [row for batch in reader.scan(spaces=spaces, batch_rows=3) for row in batch.to_pylist()]
    for row, expected in zip(rows, model.items.values(), strict=True):
        vectors = {name: row.pop(name) for name in spaces}
        vectors = {name: np.array(value) for name, value in vectors.items() if value is not None}
        _check_item(model, row.pop("id"), row.pop("document"), row, vectors, expected)


def check_search(
    reader: Readable,
    model: CollectionModel,
    queries: ArrayLike,
    *,
    space: str,
    k: int,
    where: Where | None = None,
    keep: Keep | None = None,
) -> None:
    """Hold an exact search in one space against brute force.

    Parameters
    ----------
    queries : array_like of shape (dim,) or (n, dim)
    where, keep : filter and predicate, optional
        The same condition, for the collection and for the model.
    """
    if not model.native(space) and any(item.vectors for item in model.items.values()):
        try:
            reader.search(queries, space=space, k=k, where=where, allow_partial=True)
        except NoRouteError:
            return
        raise AssertionError("nothing can be served, and the search did not say so")
    answer = reader.search(queries, space=space, k=k, where=where, allow_partial=True)
    items = model.native(space, keep)
    truth = model.scores(queries, space, items)
    allowed = tolerance(model.spaces[space], queries, items)
    hits: list[Hits] = list(answer) if isinstance(answer, SearchResult) else [answer]
    assert len(hits) == len(truth)
    for own, scores in zip(hits, truth, strict=True):
        _check_hits(own, items, scores, k, allowed, model.spaces[space].metric)


def _check_hits(
    hits: Hits,
    items: Sequence[ModelItem],
    truth: NDArray[np.float64],
    k: int,
    allowed: float,
    metric: str,
) -> None:
    """Hold the hits of one query against the true scores of all eligible items."""
    place = {item.id: number for number, item in enumerate(items)}
    assert len(hits) == min(k, len(items)), (len(hits), k, len(items))
    assert len(set(hits.ids)) == len(hits), "an item was found twice"
    assert set(hits.ids) <= place.keys(), f"not eligible: {set(hits.ids) - place.keys()}"
    places = [place[name] for name in hits.ids]
    scores = hits.scores.astype(np.float64)
    np.testing.assert_allclose(scores, truth[places], rtol=0, atol=allowed)
    np.testing.assert_allclose(scores, -np.sort(-truth)[: len(hits)], rtol=0, atol=allowed)
    pairs = list(zip(-hits.scores, places, strict=True))
    assert pairs == sorted(pairs), "hits are not in order of score and then of writing"
    distances = 1 - scores if metric == "cosine" else -scores
    np.testing.assert_allclose(hits.distances, distances, rtol=1e-6, atol=1e-7)
    assert all(hit.provenance.kind == "native" for hit in hits[:1])


def _check_item(
    model: CollectionModel,
    name: str,
    document: str | None,
    metadata: Mapping[str, Any],
    vectors: Mapping[str, NDArray[Any]],
    expected: ModelItem,
) -> None:
    assert (name, document) == (expected.id, expected.document)
    assert dict(metadata) == {column: expected.metadata.get(column) for column in model.columns}
    assert set(vectors) == set(expected.vectors), (name, set(vectors), set(expected.vectors))
    for space, vector in vectors.items():
        allowed = 2e-7 if model.spaces[space].dtype == "float32" else 2.0**-11
        scale = max(1.0, float(np.linalg.norm(expected.vectors[space])))
        np.testing.assert_allclose(vector, expected.vectors[space], rtol=0, atol=allowed * scale)
