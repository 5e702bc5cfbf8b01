"""The Debian descriptions as upgrades meet them: a store, an encoder, and who answers what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

import vecstore
from vecstore.hits import SearchResult
from vecstore_ingest.encoders.lookup import LookupEncoder
from vecstore_translators import unit_rows
from vecstore_translators.evaluation import ndcg_at_k

SOURCES, TARGET = ("minilm-l4", "lsa256", "ft200"), "minilm"
CORPUS, QUERIES, K = 7_000, 1_500, 10


class Debian:
    """Documents, queries and what both models made of them.

    Query i is answered by document i. Documents from 7,000 on are never asked for: the pairs.
    """

    def __init__(self, data: Path, source: str) -> None:
        folder = data / "debian"

        def vectors(part: str, generation: str) -> NDArray[np.float32]:
            return unit_rows(np.load(folder / "emb" / f"{part}.{generation}.f16.npy"))

        self.source = source
        self.old, self.new = vectors("docs", source), vectors("docs", TARGET)
        self.old_queries, self.queries = vectors("queries", source), vectors("queries", TARGET)
        self.documents: list[str] = pq.read_table(folder / "docs.parquet")["text"].to_pylist()
        self.texts: list[str] = pq.read_table(folder / "queries.parquet")["text"].to_pylist()
        self.encoder = LookupEncoder(name=TARGET, texts=self.documents, vectors=self.new)

    def collection(
        self, store: vecstore.Store, name: str, *, items: int, native: NDArray[np.int64]
    ) -> vecstore.Collection:
        """Make a collection of the first items, all with old vectors, some with new ones."""
        docs = store.create_collection(name)
        docs.create_space("old", dim=self.old.shape[1], model=self.source)
        docs.create_space("new", dim=self.new.shape[1], model=TARGET, supersedes="old")
        docs.use_encoder("new", self.encoder)
        docs.upsert(
            ids=[str(row) for row in range(items)],
            vectors={"old": self.old[:items]},
            documents=self.documents[:items],
            metadata={"role": ["corpus" if row < CORPUS else "train" for row in range(items)]},
        )
        self.cover(docs, native)
        return docs

    def cover(self, docs: vecstore.Collection, rows: NDArray[np.int64]) -> None:
        """Give items their native vectors, where they have none."""
        if len(rows):
            ids = [str(row) for row in rows]
            docs.add_vectors(ids=ids, vectors=self.new[rows], space="new", on_existing="skip")


def numbers(found: SearchResult) -> NDArray[np.int64]:
    """Return the documents of an answer by number, -1 where there is no hit."""
    return np.where(found.found, found.ids, "-1").astype(np.int64)


def ndcg(found: SearchResult, asked: slice = slice(0, QUERIES)) -> float:
    """Return the mean nDCG@10 of an answer to some of the queries."""
    relevant = np.arange(QUERIES)[asked]
    return float(ndcg_at_k(numbers(found), relevant, K).mean())
