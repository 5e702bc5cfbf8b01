"""Planted collections for assessments: two models of one meaning, texts, judged queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import vecstore
from vecstore import Collection, EncodingProfile, Store

TOPICS, MEANING = 24, 16


class Lookup:
    """Embeds the texts it knows, and counts them."""

    revision = None
    profile = EncodingProfile()

    def __init__(self, name, texts, vectors):
        self.name, self.dim = name, vectors.shape[1]
        self.asked = []
        self._of = dict(zip(texts, np.asarray(vectors, np.float32), strict=True))

    def encode_documents(self, texts):
        self.asked += texts
        return np.stack([self._of[text] for text in texts])

    def encode_queries(self, texts):
        return self.encode_documents(texts)


@dataclass(kw_only=True)
class Planted:
    """Documents and queries as both models see them; query i is answered by document i."""

    documents: list[str]
    questions: list[str]
    old: np.ndarray
    new: np.ndarray
    asked_old: np.ndarray
    asked_new: np.ndarray

    @property
    def ids(self) -> list[str]:
        return [f"d{number:04}" for number in range(len(self.old))]

    @property
    def qrels(self) -> list[str]:
        return self.ids[: len(self.questions)]

    def queries(self, *spaces: str, text: bool = True) -> dict[str, object]:
        vectors = {"v1": self.asked_old, "v2": self.asked_new}
        found: dict[str, object] = {name: vectors[name] for name in spaces or vectors}
        return {**found, "text": self.questions} if text else found

    def encoder(self, side: str = "new") -> Lookup:
        rows = {
            "new": (self.new, self.asked_new), "old": (self.old, self.asked_old),
        }[side]  # fmt: skip
        return Lookup(f"{side}-model", self.documents + self.questions, np.concatenate(rows))

    def write(
        self, store: Store, *, pairs: int = 0, metric="cosine", documents: bool = True
    ) -> Collection:
        """Return a collection with all old vectors and the last ``pairs`` of the new ones."""
        docs = store.create_collection(f"c{len(store.collections())}")
        docs.create_space("v1", dim=self.old.shape[1], model="old-model", metric=metric)
        docs.create_space(
            "v2", dim=self.new.shape[1], model="new-model", metric=metric, supersedes="v1"
        )
        docs.upsert(
            ids=self.ids,
            vectors={"v1": self.old},
            documents=self.documents if documents else None,
            metadata={"n": np.arange(len(self.old))},
        )
        if pairs:
            # Some examples give both spaces the same vectors, which the guard is there to refuse.
            docs.add_vectors(
                ids=self.ids[-pairs:], vectors=self.new[-pairs:], space="v2", guard="off"
            )
        return docs


def planted(
    *,
    n: int = 500,
    queries: int = 100,
    dims: tuple[int, int] = (20, 24),
    noise: tuple[float, float] = (0.6, 0.1),
    related: bool = True,
    words: float = 0.4,
    seed: int = 0,
) -> Planted:
    """Make a collection.

    Parameters
    ----------
    noise : (float, float)
        Of the old model and of the new one: what it takes for meaning and is none.
    related : bool
        Whether the old model sees the same meaning; if not, its vectors are noise.
    words : float
        How often a query has a word that only its answer has.
    """
    rng = np.random.default_rng(seed)
    meaning = rng.normal(size=(TOPICS, MEANING))[rng.integers(0, TOPICS, n)]
    meaning = meaning + 0.7 * rng.normal(size=(n, MEANING))
    asked = meaning[:queries] + 0.25 * rng.normal(size=(queries, MEANING))
    views = {}
    for side, dim, level in (("old", dims[0], noise[0]), ("new", dims[1], noise[1])):
        view = rng.normal(size=(MEANING, dim)) / np.sqrt(MEANING)
        for what, rows in (("documents", meaning), ("queries", asked)):
            seen = rows @ view if related or side == "new" else rng.normal(size=(len(rows), dim))
            views[side, what] = seen + level * rng.normal(size=seen.shape)
    common = [f"common{number}" for number in range(30)]
    texts = [" ".join([f"only{number}", *rng.choice(common, 8)]) for number in range(n)]
    questions = [
        " ".join(
            [f"q{number}", *rng.choice(common, 2), *([f"only{number}"] * (rng.random() < words))]
        )
        for number in range(queries)
    ]
    return Planted(
        documents=texts,
        questions=questions,
        old=views["old", "documents"].astype(np.float32),
        new=views["new", "documents"].astype(np.float32),
        asked_old=views["old", "queries"].astype(np.float32),
        asked_new=views["new", "queries"].astype(np.float32),
    )


def figures(assessment: vecstore.UpgradeAssessment) -> dict[str, float]:
    return {option.name: option.quality.mean for option in assessment.options}
