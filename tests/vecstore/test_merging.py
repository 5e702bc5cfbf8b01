"""One ranking of native and translated items, words and learned offset included."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.search.views import unit_rows
from vecstore_translators import Ridge

N, PAIRS, OLD, NEW = 240, 100, 10, 14
IDS = [f"{n:03}" for n in range(N)]
DOCUMENTS = [f"item word{n % 7} word{n % 11} only{n}" for n in range(N)]
TEXTS = [f"word{n % 7} only{n * 9}" for n in range(24)]

METRICS = pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])


class World:
    """A collection on its way, a twin that holds what is searched, and both models' vectors."""

    def __init__(self, store, metric, covered):
        rng = np.random.default_rng(0)
        latent = rng.standard_normal((N + PAIRS, 8))
        self.old = latent @ rng.standard_normal((8, OLD)) + 0.2
        self.new = latent @ rng.standard_normal((8, NEW)) + rng.standard_normal((N + PAIRS, NEW))
        self.queries = (latent[:24] @ rng.standard_normal((8, NEW))).astype(np.float32)
        self.docs, self.twin = store.create_collection("docs"), store.create_collection("twin")
        self.docs.create_space("v1", dim=OLD, metric=metric, model="old")
        self.space = self.docs.create_space(
            "v2", dim=NEW, metric=metric, model="new", supersedes="v1"
        )
        self.twin.create_space("v2", dim=NEW, metric=metric, model="new")
        ids = [*IDS, *(f"pair{n}" for n in range(PAIRS))]
        self.docs.upsert(ids=ids, vectors={"v1": self.old}, documents=[*DOCUMENTS, *[None] * PAIRS])
        self.docs.add_vectors(ids=ids[N:], vectors=self.new[N:], space="v2")
        self.docs.fit_translator(
            source="v1", target="v2", family=Ridge(alphas=(1e-2,)), queries=self.queries
        )
        self.docs.delete(ids[N:])
        if covered:
            self.docs.add_vectors(ids=IDS[:covered], vectors=self.new[:covered], space="v2")
        [record] = self.docs.translators
        self.offset = np.float32(record.report["offset"])
        stored = self.docs.spaces["v1"].space.prepare(self.old[:N])
        images = self.docs._latest.translators.open(record).translate(stored)
        self.images = unit_rows(images) if metric == "cosine" else images

    def fill_twin(self, vectors):
        self.twin.upsert(ids=IDS, vectors=vectors, documents=DOCUMENTS)


def searches(world, **how):
    both = {"text": TEXTS, **how}
    return (
        world.docs.search(world.queries, space="v2", k=30, **both),
        world.twin.search(world.queries, k=30, **both),
    )


@METRICS
@pytest.mark.parametrize("lexical", [0, 6])
def test_at_full_coverage_words_and_offset_change_nothing_of_the_one_space_answer(
    store, metric, lexical
):
    world = World(store, metric, covered=N)
    world.fill_twin(world.new[:N])
    ours, theirs = searches(world, lexical=lexical)
    assert np.array_equal(ours.ids, theirs.ids)
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=1e-5)


@METRICS
@pytest.mark.parametrize("lexical", [0, 6])
def test_at_no_coverage_it_is_the_search_of_translated_vectors_moved_by_the_offset(
    store, metric, lexical
):
    world = World(store, metric, covered=0)
    assert abs(world.offset) > 1e-3
    world.fill_twin(world.images)
    ours, theirs = searches(world, lexical=lexical)
    assert np.array_equal(ours.ids, theirs.ids)
    scale = np.abs(theirs.scores).max()
    np.testing.assert_allclose(
        ours.scores, theirs.scores + world.offset, rtol=0, atol=2e-6 * scale + 1e-6
    )


@METRICS
def test_in_between_every_item_has_the_score_of_its_source(store, metric):
    world = World(store, metric, covered=80)
    world.fill_twin(np.concatenate([world.new[:80], world.images[80:]]))
    found = world.docs.search(world.queries, space="v2", k=N)
    alone = world.twin.search(world.queries, k=N)
    for ours, theirs in zip(found, alone, strict=True):
        expected = dict(zip(theirs.ids, theirs.scores, strict=True))
        assert ours.ids == sorted(ours.ids, key=dict(zip(ours.ids, -ours.scores, strict=True)).get)
        for hit in ours:
            native = int(hit.id) < 80
            assert hit.provenance.kind == ("native" if native else "translated")
            moved = 0 if native else world.offset
            assert hit.score == pytest.approx(expected[hit.id] + moved, rel=1e-4, abs=1e-4)


def test_a_threshold_means_the_same_before_and_during_a_migration(store):
    world = World(store, "cosine", covered=0)
    before = world.docs.search(world.queries, space="v2", k=N, min_score=0.5)
    world.docs.add_vectors(ids=IDS[:80], vectors=world.new[:80], space="v2")
    during = world.docs.search(world.queries, space="v2", k=N, min_score=0.5)
    for old, new in zip(before, during, strict=True):
        untouched = {hit.id for hit in old if int(hit.id) >= 80}
        assert untouched == {hit.id for hit in new if hit.provenance.kind == "translated"}


def test_without_real_queries_documents_say_how_far_translations_fall_short(store):
    world = World(store, "cosine", covered=N)
    report = world.docs.fit_translator(source="v1", target="v2", family=Ridge(alphas=(1e-2,)))
    learned = next(t.report["offset"] for t in world.docs.translators if t.id == report.id)
    assert learned >= 0
    queried = world.docs.fit_translator(
        source="v1", target="v2", family=Ridge(alphas=(1e-2,)), queries=world.queries[:5]
    )
    again = next(t.report["offset"] for t in world.docs.translators if t.id == queried.id)
    assert again == learned, "five queries say too little"
