"""The weight of words: chosen on judged queries, kept with the space, seen by every reader."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.errors import InvalidArgumentError, UnpairedRowsError
from vecstore.search.hybrid import DEFAULT_WEIGHT
from vecstore_translators.evaluation import ndcg_at_k

N, DIM, ASKED = 120, 8, 60


def filled(store, *, words_tell, vectors_tell):
    """Items of two words each; a query asks for one of them, by vector, by word, or by both."""
    rng = np.random.default_rng(0)
    docs = store.create_collection("docs")
    docs.create_space("v", dim=DIM)
    vectors = rng.standard_normal((N, DIM)).astype(np.float32)
    docs.upsert(
        ids=[f"{n:03}" for n in range(N)],
        vectors=vectors,
        documents=[f"rare{n} common{n % 3}" for n in range(N)],
        metadata={"n": range(N)},
    )
    queries = vectors[:ASKED] + 0.1 * rng.standard_normal((ASKED, DIM)).astype(np.float32)
    if not vectors_tell:
        queries = rng.standard_normal((ASKED, DIM)).astype(np.float32)
    texts = [f"rare{n if words_tell else N - 1 - n}" for n in range(ASKED)]
    return docs, {"v": queries, "text": texts}, [f"{n:03}" for n in range(ASKED)]


def quality(docs, queries, **how):
    found = docs.search(queries["v"], text=queries["text"], **how)
    return ndcg_at_k(found.ids.astype(int), np.arange(ASKED), 10).mean()


def test_words_that_tell_more_than_vectors_get_more_weight(place):
    with place.open() as store:
        docs, queries, answers = filled(store, words_tell=True, vectors_tell=False)
        usual, before = quality(docs, queries), docs.version
        tuning = docs.tune_lexical(queries=queries, qrels=answers)
        assert tuning.weight >= DEFAULT_WEIGHT
        assert quality(docs, queries) == pytest.approx(dict(tuning.measured)[tuning.weight])
        assert quality(docs, queries) >= usual
        assert f"weight {tuning.weight:g}" in str(tuning)
        assert quality(docs.at(before), queries) == usual
    with place.open() as store:
        docs = store.collection("docs")
        own = quality(docs, queries, lexical=tuning.weight)
        assert quality(docs, queries) == own


def test_words_that_mislead_get_none(store):
    docs, queries, answers = filled(store, words_tell=False, vectors_tell=True)
    tuning = docs.tune_lexical(queries=queries, qrels=answers)
    assert tuning.weight < DEFAULT_WEIGHT
    assert quality(docs, queries) > quality(docs, queries, lexical=DEFAULT_WEIGHT) + 0.1
    assert tuning.quality.mean == pytest.approx(quality(docs, queries), abs=0.05)


def test_without_a_measurable_difference_the_weight_stays_the_usual_one(store):
    docs, queries, answers = filled(store, words_tell=True, vectors_tell=True)
    assert docs.tune_lexical(queries=queries, qrels=answers).weight == DEFAULT_WEIGHT


def test_every_weight_is_judged_as_a_search_with_it_would_be(store):
    docs, queries, answers = filled(store, words_tell=True, vectors_tell=False)
    tuning = docs.tune_lexical(queries=queries, qrels=answers, where="n < 90")
    for weight, value in tuning.measured:
        assert quality(docs, queries, lexical=weight, where="n < 90") == pytest.approx(value)
    assert tuning.without == dict(tuning.measured)[0.0]


def test_a_weight_belongs_to_its_space(store):
    docs, queries, answers = filled(store, words_tell=False, vectors_tell=True)
    docs.create_space("w", dim=DIM, supersedes="v")
    docs.add_vectors(
        ids=[f"{n:03}" for n in range(N)], space="w",
        vectors=np.random.default_rng(1).standard_normal((N, DIM)),
    )  # fmt: skip
    asked = {"space": "w", "text": queries["text"]}
    before = docs.search(queries["v"], **asked)
    docs.tune_lexical(queries=queries, qrels=answers, space="v")
    assert np.array_equal(docs.search(queries["v"], **asked).scores, before.scores)


def test_what_cannot_tell_weights_apart_is_refused(store):
    docs, queries, answers = filled(store, words_tell=True, vectors_tell=True)
    with pytest.raises(InvalidArgumentError, match="at least 20 judged queries"):
        docs.tune_lexical(
            queries={name: part[:19] for name, part in queries.items()}, qrels=answers[:19]
        )
    with pytest.raises(InvalidArgumentError, match="without texts"):
        docs.tune_lexical(queries={"v": queries["v"]}, qrels=answers)
    with pytest.raises(UnpairedRowsError):
        docs.tune_lexical(queries=queries, qrels=answers[:-1])
