"""Reading: the verbs that a collection and each of its versions have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, final, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.catalog import IndexRecord, TranslatorRecord
from vecstore.encoding import Encoder
from vecstore.filters import Where
from vecstore.hits import Hits, SearchResult
from vecstore.ids import Ids
from vecstore.inputs import Vectors
from vecstore.items import Item, item_batches, items_by_id
from vecstore.search.cascade import Cascade
from vecstore.search.embedding import DirectEmbedder, DocumentEmbedder
from vecstore.search.plan import Execution, Plan
from vecstore.search.request import (
    QueryVectors,
    check_answer,
    checked_budget,
    checked_count,
    checked_depth,
    checked_min_score,
    checked_rescore_depth,
    ranking_space,
)
from vecstore.search.run import run
from vecstore.snapshot import Snapshot
from vecstore.spaces import Space
from vecstore.status import SpaceStatus
from vecstore.version import OpenVersion

__all__ = ["CollectionVersion", "Readable"]

SCAN_ROWS = 10_000


class Readable(ABC):
    """What can be asked of a collection, at its newest version or at a fixed one."""

    @abstractmethod
    def _version(self) -> OpenVersion:
        """Return the version that a call reads; one call reads one version."""

    @abstractmethod
    def _settled(self) -> OpenVersion:
        """Return the version that shows what this process's cascades have embedded so far."""

    @abstractmethod
    def _embedder(self, *, commit: bool) -> DocumentEmbedder:
        """Return who embeds the documents of a cascade, and keeps the vectors if it can."""

    @abstractmethod
    def _note(
        self, space_id: str, queries: NDArray[np.float32], row_ids: NDArray[np.int64]
    ) -> None:
        """Take note of what a space was asked and what was found, if somebody learns from it."""

    @property
    def version(self) -> int:
        """The number of the version that is read."""
        return self._settled().snapshot.version

    @property
    def schema(self) -> pa.Schema:
        """The columns a filter can use: id, document and the metadata."""
        return self._version().snapshot.state.schema

    @property
    def spaces(self) -> dict[str, SpaceStatus]:
        """The spaces by name, oldest first, with their live coverage."""
        snapshot = self._settled().snapshot
        return {
            name: SpaceStatus(
                space=record.space,
                generation=record.generation,
                native=len(snapshot.native(name)),
                live=len(snapshot.live),
                default=name == snapshot.default_space,
            )
            for name, record in snapshot.spaces.items()
        }

    @property
    def default_space(self) -> str | None:
        """The space that searches rank in if they do not say otherwise; None if none is set."""
        return self._version().snapshot.default_space

    @property
    def translators(self) -> tuple[TranslatorRecord, ...]:
        """The stored translators, oldest first."""
        return self._version().snapshot.state.translators

    @property
    def indexes(self) -> tuple[IndexRecord, ...]:
        """The registered indexes."""
        return self._version().indexes

    def __len__(self) -> int:
        return len(self._version().snapshot.live)

    def count(self, where: Where | None = None) -> int:
        """Count live items, or those for which a filter is true."""
        snapshot = self._settled().snapshot
        return len(snapshot.live if where is None else snapshot.matching(where))

    @overload
    def get(self, ids: str, *, spaces: Sequence[str] = ()) -> Item: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, ids: Ids, *, spaces: Sequence[str] = ()) -> list[Item]: ...
    def get(self, ids: str | Ids, *, spaces: Sequence[str] = ()) -> Item | list[Item]:
        """Return one item by its id, or a list of items in the order of the ids.

        Parameters
        ----------
        ids : str or sequence of str
        spaces : sequence of str
            Spaces whose native vectors are returned too, where the item has one.

        Raises
        ------
        NotFoundError
            An id has no live item.
        """
        snapshot = self._settled().snapshot
        if isinstance(ids, str):
            return items_by_id(snapshot, [ids], spaces)[0]
        return items_by_id(snapshot, ids, spaces)

    def scan(
        self,
        *,
        spaces: Sequence[str] = (),
        where: Where | None = None,
        batch_rows: int = SCAN_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """Stream all live items in the order they were written.

        Yields
        ------
        RecordBatch
            Columns id, document, the metadata, and one FixedSizeList of float32 for each
            requested space, null where an item has no native vector in it.
        """
        return item_batches(self._settled().snapshot, spaces, where, batch_rows)

    def search(
        self,
        vectors: Vectors | None = None,
        *,
        text: str | Sequence[str] | None = None,
        space: str | Space | None = None,
        k: int | None = None,
        limit: int | None = None,
        where: Where | None = None,
        encoder: Encoder | None = None,
        depth: int | None = None,
        budget: int | None = None,
        commit: bool = True,
        lexical: float | None = None,
        min_score: float | None = None,
        execution: Execution | None = None,
        rescore_depth: int | None = None,
        allow_partial: bool = False,
    ) -> Any:
        """Find the nearest items of the whole collection, whatever model embedded them.

        Parameters
        ----------
        vectors : array_like of shape (dim,) or (n, dim), or dict of space name to such arrays
            One query or a batch; may be left out where ``text`` can be embedded. A dictionary
            brings the same queries embedded by several models; then items without a vector in
            the ranking space are compared natively in another of these spaces where they have
            one.
        text : str or sequence of str, optional
            The same queries in words: stored documents are searched for them too, by BM25.
            Without ``vectors`` they are embedded by the encoder of the ranking space.
        space : str or Space, optional
            The ranking space; by default the collection's default space, or else the newest of
            the dictionary, or the only one.
        k, limit : int
            Hits per query, 10 by default; two names of one argument.
        where : str or dict, optional
            A predicate over id, document and metadata, as SQL or as a Mongo-style mapping.
        encoder, depth : Encoder and int, optional
            Cascade: the merged shortlist of ``depth`` items per query is embedded by the
            encoder where it has no native vector, and ranked natively; hits beyond it, where
            ``k`` is larger, keep their translated scores. By default the encoder is that of
            the ranking space. If it fails, the answer is ranked by translation
            and says so in ``degraded``.
        budget : int, optional
            Documents a cascade may embed for each query; by default its whole shortlist.
        commit : bool
            Keep the vectors that a cascade made, as coverage of the ranking space: committed in
            the background a moment later, see ``flush``. A fixed version never keeps them.
        lexical : float, optional
            What the best match of ``text`` adds to a score, in standard deviations of the
            query's vector scores; 0 leaves words out. By default what ``tune_lexical`` chose
            for the ranking space, else 6.
        min_score : float, optional
            Hits below it are left out. Scores of native and translated hits are on one scale.
        execution : {"rewrite", "fold", "rescore", "query"}, optional
            How translations run; see ``docs/concepts.md``. By default "rewrite".
        rescore_depth : int, optional
            Shortlist per query of the "rescore" execution; by default max(200, 20 k).
        allow_partial : bool
            Leave out items of related spaces that no translator joins to the ranking space,
            instead of raising.

        Returns
        -------
        Hits
            For one query: a sequence of :class:`Hit`, best first. Score: larger is better.
        SearchResult
            For a batch: a sequence of :class:`Hits`.

        Raises
        ------
        NoRouteError
            Some generation cannot be reached: no translator joins it to the ranking space.
        SpaceMismatchError
            The space or the encoder is not what the collection has under that name.
        UnsupportedOperationError
            Something is to be embedded, and the ranking space has no encoder.
        DimensionMismatchError, NonFiniteError, InvalidFilterError, InvalidArgumentError
        """
        version = self._version()
        only_vectors = (
            text is None and encoder is None and depth is None and budget is None
            and lexical is None and min_score is None and execution is None
            and rescore_depth is None and not allow_partial
        )  # fmt: skip
        if only_vectors:
            plain = version.plain(space)
            query = None if plain is None else plain.space.takes(vectors)
            if plain is not None and query is not None:
                count = checked_count(k, limit)
                allowed = None if where is None else version.snapshot.matching(where)
                result = plain.search(query, count, allowed)
                self._note(plain.space_id, query, result.row_ids)
                return Hits(result, 0)
        snapshot = version.snapshot
        encoder_of = version.encoders.of if encoder is None else lambda _: encoder
        depth = checked_depth(depth, unused=encoder is not None and vectors is not None)
        queries = QueryVectors.of(snapshot, vectors, space, text=text, encoder_of=encoder_of)
        prepared = version.prepared(
            queries.target,
            tuple(queries.by_space),
            execution=execution,
            rescore_depth=checked_rescore_depth(rescore_depth),
            allow_partial=allow_partial,
        )
        count, budget = checked_count(k, limit), checked_budget(budget, depth)
        check_answer(len(queries), max(count, depth or 0))
        wanted = None
        if depth is not None:
            wanted = Cascade(
                encoder=encoder_of(snapshot.space(queries.target)),
                embedder=self._embedder(commit=commit),
                depth=depth,
                budget=budget,
            )
        outcome = run(
            prepared,
            queries.by_space,
            count,
            allowed=None if where is None else snapshot.matching(where),
            lexical=version.words(queries.texts, lexical, space=queries.target),
            wanted=wanted,
            min_score=checked_min_score(min_score),
        )
        result = SearchResult(
            snapshot,
            prepared.plan,
            outcome.answer.scores,
            outcome.answer.row_ids,
            outcome.provenances,
            origins=outcome.answer.origins,
            embedded=outcome.embedded,
            degraded=outcome.degraded,
        )
        self._note(prepared.plan.target.id, queries.by_space[queries.target], result.row_ids)
        return result[0] if queries.single else result

    def explain(
        self,
        *,
        space: str | None = None,
        query_spaces: Sequence[str] | None = None,
        execution: Execution | None = None,
        allow_partial: bool = False,
    ) -> Plan:
        """Return the plan of a search; print it.

        Parameters
        ----------
        space : str, optional
            The ranking space, by default as a search has it.
        query_spaces : sequence of str, optional
            Spaces the query brings vectors for; by default the ranking space only.
        """
        version = self._version()
        target = ranking_space(version.snapshot, space, query_spaces)
        return version.prepared(
            target,
            tuple(query_spaces) if query_spaces else (target,),
            execution=execution,
            allow_partial=allow_partial,
        ).plan


@final
class CollectionVersion(Readable):
    """One version of a collection, read only: it never changes. Thread-safe.

    Made by :meth:`vecstore.Collection.at` and :meth:`vecstore.Collection.latest`.
    """

    def __init__(self, version: OpenVersion) -> None:
        self._opened = version

    def __repr__(self) -> str:
        name = self._opened.snapshot.state.collection.name
        return f"<CollectionVersion {self.version} of {name!r}>"

    @property
    def snapshot(self) -> Snapshot:
        """The rows of this version."""
        return self._opened.snapshot

    def _version(self) -> OpenVersion:
        return self._opened

    def _settled(self) -> OpenVersion:
        return self._opened

    def _embedder(self, *, commit: bool) -> DocumentEmbedder:
        """Keep nothing, whatever is asked for: the version is read only."""
        return DirectEmbedder()

    def _note(
        self, space_id: str, queries: NDArray[np.float32], row_ids: NDArray[np.int64]
    ) -> None:
        """Learn nothing from searches of the past."""
