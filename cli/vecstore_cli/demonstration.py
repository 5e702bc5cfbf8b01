"""What `vecstore demo` does: a model upgrade on real data, every way of it measured.

Nothing is precooked: a store on disk, filled, fitted and searched through the public API.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vecstore import Collection, Hits, SearchResult, Store, TranslatorReport
from vecstore_ingest import ColumnMapping, LookupEncoder, ingest
from vecstore_translators.evaluation import ndcg_at_k, recall_at_k

__all__ = ["Demonstration", "Example", "Method", "demonstrate"]

OLD, NEW = "static256", "minilm384"
OLD_MODEL, NEW_MODEL = "static word-piece vectors", "all-MiniLM-L6-v2"
PAIRS = slice(400, 900)
"""Items embedded with both models; rows 0-399 are the answers to the queries and stay out."""
FAMILIES = ("procrustes", "ridge", "ridge_procrustes")
"""Quick to choose from, and the same whatever extras are installed."""
K = 10
DEPTHS = (20, 50)
SHOWN = 3
TIMED, WARM_UP = 50, 5

Matrix = NDArray[np.float32]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A line of the table.

    Attributes
    ----------
    ndcg, recall : float
        Mean over the queries at 10, exact search, whole batch.
    share : float
        Items embedded with the new model when all queries are answered, 0.0 to 1.0.
    milliseconds : float
        Median of single queries, warm; without the time a model takes to embed.
    """

    key: str
    name: str
    ndcg: float
    recall: float
    share: float
    milliseconds: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One query in words and its first hits, by the old model and by the forward translation."""

    query: str
    relevant: str
    why: str
    old: tuple[dict[str, Any], ...]
    forward: tuple[dict[str, Any], ...]


@final
@dataclass(kw_only=True)
class Demonstration:
    """Everything that was measured; filled step by step."""

    items: int = 0
    queries: int = 0
    pairs: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    translators: list[TranslatorReport] = field(default_factory=list)
    methods: list[Method] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    merged_query_side: float = 0.0
    """nDCG@10 of the query-side translation where its scores meet those of native vectors."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Dictionary:
    """The shipped data."""

    path: Path
    items: pa.Table
    queries: pa.Table
    relevant: NDArray[np.int64]

    @classmethod
    def read(cls, folder: Path) -> _Dictionary:
        path = folder / "wordnet_items.parquet"
        items = pq.read_table(path)
        queries = pq.read_table(folder / "wordnet_queries.parquet")
        place = {item: row for row, item in enumerate(items["id"].to_pylist())}
        relevant = np.array([place[item] for item in queries["relevant_id"].to_pylist()])
        return cls(path=path, items=items, queries=queries, relevant=relevant)

    def embedded(self, space: str) -> Matrix:
        """Return the queries as a model embedded them."""
        return _matrix(self.queries[space])

    def judge(self, result: SearchResult) -> tuple[float, float]:
        """Return mean nDCG@10 and recall@10."""
        place = {item: row for row, item in enumerate(self.items["id"].to_pylist())}
        ranking = np.array([[place.get(item, -1) for item in row] for row in result.ids])
        ndcg, recall = ndcg_at_k(ranking, self.relevant, K), recall_at_k(ranking, self.relevant, K)
        return float(ndcg.mean()), float(recall.mean())


def demonstrate(store: Store, busy: Callable[[str], None] = lambda _step: None) -> Demonstration:
    """Upgrade the dictionary's embedding model in a store, and measure every way to do it.

    Parameters
    ----------
    store : Store
        Gets the collections "dictionary" (which ends with both generations and translators),
        "query-side" and "re-embedded".
    busy : callable
        Told what is being done.

    Raises
    ------
    AlreadyExistsError
        The store has one of these collections.
    """
    done = Demonstration()

    @contextmanager
    def step(name: str) -> Iterator[None]:
        busy(name)
        began = time.perf_counter()
        yield
        done.seconds[name] = time.perf_counter() - began

    with as_file(files("vecstore_cli") / "demo_data") as folder:
        data = _Dictionary.read(folder)
        done.items, done.queries = len(data.items), len(data.queries)
        done.pairs = PAIRS.stop - PAIRS.start
        with step(f"ingest {done.items:,} definitions under {OLD}"):
            docs = store.create_collection("dictionary")
            _ingest_old(docs, data)
        with step(f"create {NEW}, attach {done.pairs} pairs"):
            _attach_pairs(docs, data)
        with step("fit the forward map, chosen among the affine families"):
            report = docs.fit_translator(source=OLD, target=NEW, family=FAMILIES)
            done.translators.append(report)
        with step("a second collection for query-side Procrustes"):
            query_side = _query_side(store, data, done)
        with step("a third collection, fully re-embedded"):
            full = store.create_collection("re-embedded")
            full.create_space(NEW, dim=384, model=NEW_MODEL)
            ingest(full, data.path, mapping=_mapping(NEW, without=OLD))
        with step("search, six ways, and time it"):
            _measure(docs, query_side, full, data, done)
    return done


def _ingest_old(collection: Collection, data: _Dictionary) -> None:
    if OLD not in collection.spaces:
        collection.create_space(OLD, dim=256, model=OLD_MODEL)
    ingest(collection, data.path, mapping=_mapping(OLD, without=NEW))


def _mapping(space: str, *, without: str) -> ColumnMapping:
    return ColumnMapping(vectors={space: space}, document="document", exclude=[without])


def _attach_pairs(collection: Collection, data: _Dictionary) -> None:
    collection.create_space(NEW, dim=384, model=NEW_MODEL, supersedes=OLD)
    pairs = data.items[PAIRS]
    collection.add_vectors(ids=pairs["id"], vectors=_matrix(pairs[NEW]), space=NEW)


def _query_side(store: Store, data: _Dictionary, done: Demonstration) -> Collection:
    """Return a collection that has a query-side map and no native vector of the new model.

    The map carries new queries into the old space, as the literature does it. Its scores are
    cosines of the old space and do not compare with native ones of the new space, so the 500
    pairs would distort it: it is measured once with them, and then, after every item was written
    again, which drops them, without.
    """
    collection = store.create_collection("query-side")
    _ingest_old(collection, data)
    _attach_pairs(collection, data)
    report = collection.fit_translator(source=NEW, target=OLD, side="queries", family="procrustes")
    done.translators.append(report)
    merged = collection.search(data.embedded(NEW), space=NEW, k=K, execution="query")
    done.merged_query_side = data.judge(merged)[0]
    _ingest_old(collection, data)
    return collection


def _measure(
    docs: Collection,
    query_side: Collection,
    full: Collection,
    data: _Dictionary,
    done: Demonstration,
) -> None:
    """Fill in the table and the examples."""
    old, new = data.embedded(OLD), data.embedded(NEW)
    encoder = LookupEncoder(
        name=NEW_MODEL,
        texts=data.items["document"].to_pylist(),
        vectors=_matrix(data.items[NEW]),
    )
    embedded = docs.spaces[NEW].native

    def measure(
        key: str, name: str, queries: Matrix, collection: Collection, **how: Any
    ) -> SearchResult:
        result: SearchResult = collection.search(queries, k=K, **how)
        native = collection.spaces[NEW].native if collection is full else embedded
        share = (native + result.embedded) / len(collection) if key != "old" else 0.0
        ndcg, recall = data.judge(result)
        times = _times(lambda query: collection.search(query, k=K, **how), queries)
        method = Method(
            key=key, name=name, ndcg=ndcg, recall=recall, share=share, milliseconds=times
        )
        done.methods.append(method)
        return result

    before = measure("old", "keep the old model", old, docs, space=OLD)
    measure("query", "query-side Procrustes", new, query_side, space=NEW, execution="query")
    forward = measure("forward", "forward translation", new, docs, space=NEW)
    for depth in DEPTHS:
        how = {"space": NEW, "encoder": encoder, "depth": depth, "commit": False}
        measure(f"cascade{depth}", f"forward, then cascade of {depth}", new, docs, **how)
    measure("full", "full re-embed", new, full, space=NEW)
    done.examples.extend(_examples(data, before, forward))


def _times(search: Callable[[Matrix], Hits], queries: Matrix) -> float:
    """Return the median time of a single query in milliseconds."""
    seconds = []
    for query in queries[: WARM_UP + TIMED]:
        began = time.perf_counter()
        search(query)
        seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds[WARM_UP:])


def _examples(data: _Dictionary, before: SearchResult, forward: SearchResult) -> Iterator[Example]:
    """Choose three queries by rule, not by hand: one won, one even, one lost."""
    texts, relevant = data.queries["query"].to_pylist(), data.queries["relevant_id"].to_pylist()
    ranks = [
        [_rank(hits.ids, right) for hits, right in zip(result, relevant, strict=True)]
        for result in (before, forward)
    ]
    rules: Sequence[tuple[str, Callable[[int | None, int | None], bool]]] = [
        ("the first that only the translation finds", lambda old, new: old is None and new == 1),
        ("the first that both put first", lambda old, new: old == new == 1),
        ("the first that the old model ranks higher", lambda old, new: (old or 99) < (new or 99)),
    ]
    for why, rule in rules:
        found = [i for i, (old, new) in enumerate(zip(*ranks, strict=True)) if rule(old, new)]
        for number in found[:1]:
            yield Example(
                query=texts[number],
                relevant=relevant[number],
                why=why,
                old=_shown(before[number]),
                forward=_shown(forward[number]),
            )


def _rank(ids: Sequence[str], wanted: str) -> int | None:
    return ids.index(wanted) + 1 if wanted in ids else None


def _shown(hits: Hits) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "id": hit.id,
            "score": hit.score,
            "provenance": hit.provenance.kind,
            "space": hit.provenance.space,
            "words": hit.metadata["words"],
            "document": hit.document,
        }
        for hit in hits[:SHOWN]
    )


def _matrix(column: pa.ChunkedArray) -> Matrix:
    """Return a column of vectors as ndarray of shape (n, d), float32."""
    vectors = column.combine_chunks()
    values: NDArray[Any] = vectors.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(vectors), -1).astype(np.float32)
