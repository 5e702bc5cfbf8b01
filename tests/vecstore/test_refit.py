"""Refits: when pairs have doubled, from native vectors only, and kept only if no worse."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore.errors import NotFoundError
from vecstore.upgrade import background, refit

N, OLD, NEW = 900, 16, 20


class Encoder:
    name, revision, dim = "new", None, NEW
    profile = vecstore.EncodingProfile()

    def __init__(self, vectors):
        self.vectors = vectors

    def encode_documents(self, texts):
        return np.stack([self.vectors[int(text.split()[1])] for text in texts])

    encode_queries = encode_documents


def filled(store, pairs=100, **options):
    """A noisy linear pair of models: more pairs make a better map."""
    rng = np.random.default_rng(5)
    latent = rng.standard_normal((N, 12))
    old = latent @ rng.standard_normal((12, OLD)) + 0.3 * rng.standard_normal((N, OLD))
    new = (latent @ rng.standard_normal((12, NEW)) + 0.3 * rng.standard_normal((N, NEW))).astype(
        np.float32
    )
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=OLD, model="old")
    ids = [f"{n:03}" for n in range(N)]
    docs.upsert(ids=ids, vectors=old, documents=[f"text {n}" for n in range(N)])
    docs.create_space("v2", dim=NEW, model="new", supersedes="v1")
    docs.add_vectors(ids=ids[:pairs], vectors=new[:pairs], space="v2")
    docs.fit_translator(source="v1", target="v2", family=["ridge"], **options)
    return docs, ids, new


def cover(docs, ids, new, until):
    docs.add_vectors(ids=ids[:until], vectors=new[:until], space="v2", on_existing="skip")


def test_a_refit_is_due_when_the_pairs_have_doubled(place):
    with place.open() as store:
        docs, ids, new = filled(store)
        [before] = docs.translators
        cover(docs, ids, new, 199)
        assert docs.refit_translators() == []
        cover(docs, ids, new, 200)
        version = docs.version
        [done] = docs.refit_translators()
        assert docs.version == version + 1
        [now] = docs.translators
        assert (done.replaced, done.id) == (before.id, now.id)
        assert (done.fitted, done.pairs, now.report["pairs"]) == (100, 200, 200)
        assert done.after >= done.before - 0.005
        assert done.gain.mean == pytest.approx(done.after - done.before)
        assert now.report["asked"] == ["ridge"]
        assert now.family == "ridge"
        # Older versions keep the map they had, and nothing is due any more.
        assert [t.id for t in docs.at(version).translators] == [before.id]
        assert docs.refit_translators() == []
        hits = docs.search(new[700], space="v2", k=3)
        assert {hit.provenance.translators for hit in hits} <= {(now.id,), ()}


def test_the_pairs_of_a_refit_are_native_in_both_spaces(store, monkeypatch):
    docs, ids, new = filled(store)
    cover(docs, ids, new, 300)
    docs.search(new[500], space="v2", k=5)  # makes translated vectors of all the rest
    seen = []
    real = refit.fit_pairs

    def spied(snapshot, **how):
        seen.append(snapshot.native("v1") & snapshot.native("v2"))
        return real(snapshot, **how)

    monkeypatch.setattr(refit, "fit_pairs", spied)
    [done] = docs.refit_translators()
    assert done.pairs == len(seen[0]) == 300
    assert seen[0].to_array().tolist() == list(range(300))


def test_the_judge_prefers_the_better_map(store, monkeypatch):
    docs, ids, new = filled(store)
    cover(docs, ids, new, 400)
    real = refit.cross_fit
    rng = np.random.default_rng(0)

    def spoiled(*arguments, **how):
        rows, translated = real(*arguments, **how)
        return rows, rng.permutation(translated)

    monkeypatch.setattr(refit, "cross_fit", spoiled)
    [done] = docs.refit_translators()
    assert done.id is None
    assert done.after < done.before
    assert done.gain.high < 0
    assert "kept as it is" in str(done)
    monkeypatch.undo()
    [done] = docs.refit_translators()
    assert done.id is not None
    assert done.after > done.before - 0.01
    assert "fitted again" in str(done)


def test_without_unseen_pairs_a_refit_is_not_kept(store):
    docs, ids, new = filled(store)
    cover(docs, ids, new, 105)
    [done] = docs.refit_translators(force=True)
    assert (done.id, done.before, done.gain) == (None, None, None)
    with pytest.raises(NotFoundError):
        docs.refit_translators(target="v9")
    assert docs.refit_translators(target="v1", force=True) == []


def test_query_side_maps_are_fitted_again_too(store):
    docs, ids, new = filled(store)
    docs.fit_translator(source="v2", target="v1", side="queries", family="ridge")
    cover(docs, ids, new, 300)
    done = {each.side: each for each in docs.refit_translators()}
    assert set(done) == {"documents", "queries"}
    assert all(each.after >= each.before - 0.005 for each in done.values() if each.id)


def test_backfills_refit_on_the_way(store):
    docs, _ids, new = filled(store)
    report = docs.backfill(to="v2", encoder=Encoder(new), budget=500, batch=100)
    assert report.refits >= 1
    assert docs.translators[-1].report["pairs"] >= 300
    [before] = docs.translators
    docs.backfill(to="v2", encoder=Encoder(new), refit=False)
    assert docs.translators == (before,)


def test_cascades_refit_in_the_background(store, monkeypatch):
    docs, _ids, new = filled(store)
    for start in range(100, 420, 40):
        docs.search(new[start : start + 40], space="v2", k=1, depth=10, encoder=Encoder(new))
    docs.flush()
    docs._refits.join()
    assert docs.refresh().translators[0].report["pairs"] >= 300
    assert background.BackgroundRefits is not None


def test_a_store_can_be_opened_without_background_refits(tmp_path):
    with vecstore.open(tmp_path / "store", refit=False) as store:
        docs, _ids, new = filled(store)
        [before] = docs.translators
        for start in range(100, 420, 40):
            docs.search(new[start : start + 40], space="v2", k=1, depth=10, encoder=Encoder(new))
        docs.flush()
        docs._refits.join()
        assert docs.spaces["v2"].native > 300
        assert docs.translators == (before,)


def test_a_fit_that_fails_in_the_background_fails_nothing_else(store, monkeypatch):
    docs, _ids, new = filled(store)

    def broken(*_arguments, **_how):
        raise vecstore.errors.TooFewPairsError("no")

    monkeypatch.setattr(refit, "try_refit", broken)
    report = docs.backfill(to="v2", encoder=Encoder(new), budget=300)
    assert (report.embedded, report.refits) == (300, 0)


def test_the_last_real_queries_of_the_process_ask_in_a_refit(store, monkeypatch):
    docs, ids, new = filled(store)
    asked = new[600:640] + np.float32(0.1)
    docs.search(asked, space="v2", k=3)
    docs.latest().search(asked[:5] * 2, space="v2", k=3)  # measuring is not asking
    cover(docs, ids, new, 300)
    seen = []
    real = refit.fit_pairs

    def spied(snapshot, **how):
        seen.append(how["queries"])
        return real(snapshot, **how)

    monkeypatch.setattr(refit, "fit_pairs", spied)
    docs.refit_translators()
    unit = asked / np.linalg.norm(asked, axis=1, keepdims=True)
    np.testing.assert_allclose(seen[0], unit, atol=1e-6)


def test_an_index_over_the_translation_is_built_again(store):
    docs, ids, new = filled(store)
    docs.build_index(space="v1", into="v2", kind="flat")
    native = docs.build_index(space="v1", kind="flat")
    cover(docs, ids, new, 300)
    [done] = docs.refit_translators()
    views = {index.translator_id: index for index in docs.indexes}
    assert set(views) == {done.id, None}
    assert views[None].id == native.id
    assert "flat" in str(docs.explain(space="v2"))
