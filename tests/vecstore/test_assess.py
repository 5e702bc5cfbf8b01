"""Assessments: the right recommendation where it is known, honest costs, nothing embedded twice."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from tests.vecstore.upgrade_examples import Lookup, figures, planted
from vecstore.errors import (
    EncoderError,
    InvalidArgumentError,
    NotFoundError,
    SpaceMismatchError,
    UnpairedRowsError,
)

V1_V2 = {"source": "v1", "target": "v2", "family": "ridge"}
THREE = np.ones((3, 24))


def rotated(data, rng):
    """Return data whose old model is the new one, turned: the same answers by other numbers."""
    turn, _ = np.linalg.qr(rng.normal(size=(data.new.shape[1],) * 2))
    return dataclasses.replace(
        data,
        old=(data.new @ turn).astype(np.float32),
        asked_old=(data.asked_new @ turn).astype(np.float32),
    )


# ------------------------------------------------------------------ what is recommended


def test_a_rotated_model_is_translated_at_full_retention(store):
    data = rotated(planted(noise=(0, 0.3)), np.random.default_rng(1))
    docs = data.write(store, pairs=150)
    found = docs.assess_upgrade(
        **V1_V2, queries=data.queries("v2", text=False), qrels=data.qrels, encoder=data.encoder()
    )
    assert found.recommendation.option == "forward"
    assert found.recommendation.retention == pytest.approx(1, abs=0.01)
    assert figures(found)["naive"] < 0.2


def test_a_rotated_model_is_no_reason_to_change(store):
    data = rotated(planted(noise=(0, 0.3)), np.random.default_rng(1))
    docs = data.write(store, pairs=150)
    found = docs.assess_upgrade(
        **V1_V2, queries=data.queries(text=False), qrels=data.qrels, encoder=data.encoder()
    )
    assert found.recommendation.option == "stay"
    assert "old model" not in found.recommendation.reason


def test_a_worse_model_is_not_taken(store):
    data = planted(noise=(0.2, 1.5))
    docs = data.write(store, pairs=150)
    found = docs.assess_upgrade(
        **V1_V2, queries=data.queries(text=False), qrels=data.qrels, encoder=data.encoder()
    )
    assert found.recommendation.option == "stay"
    assert found.recommendation.retention > 1.1
    assert "no other option" in found.recommendation.reason


def test_a_gain_that_the_queries_cannot_show_is_no_reason_to_change(store):
    data = planted(queries=10, noise=(0.6, 0.55), seed=4)
    docs = data.write(store, pairs=150)
    found = docs.assess_upgrade(
        **V1_V2, queries=data.queries(text=False), qrels=data.qrels, encoder=data.encoder()
    )
    better = max(figures(found).values()) - figures(found)["stay"]
    assert better > 0.005, "the example must have an option that looks better"
    assert found.recommendation.option == "stay"
    assert "cannot tell from it" in found.recommendation.reason


def test_words_bridge_spaces_that_have_nothing_in_common(store):
    data = planted(related=False, words=1.0)
    docs = data.write(store, pairs=150)
    found = docs.assess_upgrade(
        **V1_V2, queries=data.queries(), qrels=data.qrels, encoder=data.encoder()
    )
    assert found.recommendation.option.endswith("+lexical")
    chosen = found.option(found.recommendation.option)
    assert chosen.weight == found.recommendation.weight is not None
    assert chosen.cost.documents == chosen.cost.documents_per_query == 0
    assert figures(found)["forward"] < 0.2
    assert found.recommendation.retention > 0.95


def test_without_words_such_spaces_need_the_documents_embedded(store):
    data = planted(related=False, words=0.0)
    docs = data.write(store, pairs=150)
    asked = {"queries": data.queries(), "qrels": data.qrels, "encoder": data.encoder()}
    found = docs.assess_upgrade(**V1_V2, **asked, commit=False)
    assert found.recommendation.option.partition("+")[0] in {"re-embed", "cascade@100"}
    assert found.recommendation.retention > 0.9
    poor = docs.assess_upgrade(**V1_V2, **asked, budget=0.5, commit=False)
    assert not poor.recommendation.option.startswith("re-embed")
    assert poor.recommendation.retention < found.recommendation.retention


def test_a_naive_swap_is_measured_and_never_recommended(store):
    data = planted(dims=(24, 24), noise=(0, 0.3))
    data = dataclasses.replace(data, old=data.new, asked_old=data.asked_new)
    docs = data.write(store, pairs=60)
    found = docs.assess_upgrade(
        **V1_V2, queries=data.queries("v2", text=False), qrels=data.qrels, encoder=data.encoder(),
        commit=False,
    )  # fmt: skip
    assert figures(found)["naive"] == figures(found)["re-embed"] >= figures(found)["forward"]
    assert found.recommendation.option != "naive"
    other = planted(dims=(20, 24)).write(store, pairs=60)
    assert "naive" not in figures(other.assess_upgrade(**V1_V2))


# ------------------------------------------------------------------ what is measured


def test_without_queries_the_overlap_is_that_of_the_documents_themselves(store):
    data = planted(n=200, queries=1)
    docs = data.write(store, pairs=150)
    found = docs.assess_upgrade(**V1_V2, encoder=data.encoder(), sample=200, commit=False)
    assert found.metric == "overlap"
    assert found.queries == 200

    def neighbours(vectors):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        scores = unit @ unit.T
        np.fill_diagonal(scores, -np.inf)
        return np.argsort(-scores, axis=1)[:, :10]

    pairs = zip(neighbours(data.old), neighbours(data.new), strict=True)
    expected = np.mean([len(set(one) & set(other)) / 10 for one, other in pairs])
    assert figures(found)["stay"] == pytest.approx(expected, abs=1e-9)
    assert figures(found)["re-embed"] == 1.0
    assert not any(name.endswith("+lexical") for name in figures(found))
    assert "cannot say whether the new model is better" in found.recommendation.reason


def test_queries_without_judgements_are_real_and_judged_by_overlap(store):
    data = planted()
    docs = data.write(store, pairs=150)
    found = docs.assess_upgrade(**V1_V2, queries=data.queries(), sample=0)
    assert (found.metric, found.asked) == ("overlap", "real queries without judgements")
    assert found.sample == 150


def test_intervals_hold_their_means_and_gains_are_differences(store):
    data = planted()
    docs = data.write(store, pairs=150)
    found = docs.assess_upgrade(
        **V1_V2, queries=data.queries(), qrels=data.qrels, encoder=data.encoder(), sample=500
    )
    for option in found.options:
        assert option.quality.low <= option.quality.mean <= option.quality.high
        assert (option.gain is None) == (option.name == "stay")
        if option.gain is not None:
            difference = option.quality.mean - figures(found)["stay"]
            assert option.gain.mean == pytest.approx(difference)
            assert option.gain.low <= option.gain.mean <= option.gain.high
    few = docs.assess_upgrade(
        **V1_V2,
        queries={name: rows[:12] for name, rows in data.queries().items()},
        qrels=data.qrels[:12],
        sample=500,
    )

    def width(assessment):
        quality = assessment.option("stay").quality
        return quality.high - quality.low

    assert width(few) > 1.5 * width(found)


def test_the_same_seed_gives_the_same_assessment(store):
    data = planted()
    docs = data.write(store, pairs=150)
    asked = {"queries": data.queries(), "qrels": data.qrels, "encoder": data.encoder()}
    first, second, other = (
        docs.assess_upgrade(**V1_V2, **asked, commit=False, seed=seed).to_dict()
        for seed in (0, 0, 1)
    )
    for found in (first, second, other):
        del found["seconds"]
        for option in found["options"]:
            del option["cost"]["seconds"]
    assert first == second
    assert first["options"] != other["options"]


def test_a_filter_says_what_is_searched(store):
    data = planted()
    docs = data.write(store, pairs=150)
    found = docs.assess_upgrade(
        **V1_V2, queries=data.queries(), qrels=data.qrels, encoder=data.encoder(), sample=500,
        where="n < 300",
    )  # fmt: skip
    assert (found.items, found.sample, found.embedded) == (300, 300, 300)
    assert found.pairs == 450


# ------------------------------------------------------------------ what it costs


class Slow(Lookup):
    def encode_documents(self, texts):
        time.sleep(0.002 * len(texts))
        return super().encode_documents(texts)


def test_costs_are_arithmetic_on_what_is_missing(store):
    data = planted()
    docs = data.write(store, pairs=150)
    slow = Slow("new-model", data.documents, data.new)
    found = docs.assess_upgrade(
        **V1_V2, queries=data.queries(text=False), qrels=data.qrels, encoder=slow, sample=220,
        depths=[20, 5], price=2.5, commit=False,
    )  # fmt: skip
    characters = np.mean([len(text) for text in data.documents])
    full = found.option("re-embed").cost
    assert full.documents == 350
    assert full.tokens == pytest.approx(350 * characters / 4, rel=0.02)
    assert full.price == pytest.approx(full.tokens / 1e6 * 2.5)
    assert 0.7 < full.seconds < 7
    assert full.documents_per_query == 0
    # The pairs are there, so a translation embeds nothing; a cascade ranks at least k.
    assert found.option("forward").cost.documents == 0
    assert found.option("cascade@20").cost.documents_per_query == 20
    assert found.option("cascade@10").cost.documents_per_query == 10
    assert found.option("stay").cost.tokens == 0


def test_pairs_that_were_not_kept_have_to_be_embedded_again(store):
    data = planted()
    docs = data.write(store)
    asked = {"queries": data.queries(), "qrels": data.qrels, "encoder": data.encoder()}
    found = docs.assess_upgrade(**V1_V2, **asked, sample=240, commit=False)
    assert found.embedded == found.pairs == found.option("forward").cost.documents == 240
    assert found.option("re-embed").cost.documents == 500
    kept = docs.assess_upgrade(**V1_V2, **asked, sample=240)
    assert kept.option("forward").cost.documents == 0
    assert kept.option("re-embed").cost.documents == 260


# ------------------------------------------------------------------ what is embedded


def test_only_what_is_missing_is_embedded_once_and_the_answers_are_among_it(store):
    data = planted()
    docs = data.write(store, pairs=150)
    encoder = data.encoder()
    found = docs.assess_upgrade(
        **V1_V2, queries=data.queries(), qrels=data.qrels, encoder=encoder, sample=300
    )
    asked = encoder.asked
    assert len(asked) == len(set(asked)) == found.embedded <= found.sample == 300
    assert not set(asked) & set(data.documents[-150:])
    # 75 of the queries at most: a quarter of the sample.
    assert found.queries == 75
    assert len(set(asked) & set(data.documents[:100])) >= 75


def test_what_was_paid_for_is_kept_and_seen_by_others(place):
    data = planted()
    with place.open() as store:
        docs = data.write(store, pairs=150)
        found = docs.assess_upgrade(
            **V1_V2, queries=data.queries(), qrels=data.qrels, encoder=data.encoder(), sample=300
        )
        assert found.embedded > 0
        assert docs.spaces["v2"].native == 150 + found.embedded
        with place.open() as other:
            seen = other.collection(docs.name)
            assert seen.spaces["v2"].native == 150 + found.embedded
            new = [item for item in seen.get(data.ids[:350], spaces=["v2"]) if item.vectors]
        assert len(new) == found.embedded
        for item in new:
            native = data.new[int(item.id[1:])]
            np.testing.assert_allclose(
                item.vectors["v2"], native / np.linalg.norm(native), atol=1e-6
            )
        before = docs.version
        again = docs.assess_upgrade(
            **V1_V2, queries=data.queries(), qrels=data.qrels, encoder=data.encoder(),
            commit=False, sample=400,
        )  # fmt: skip
        assert again.embedded > 0
        assert docs.version == before


def test_what_was_embedded_before_a_failure_is_kept(store, monkeypatch):
    monkeypatch.setattr("vecstore.upgrade.supply.BATCH", 40)

    class Failing(Lookup):
        def encode_documents(self, texts):
            if len(self.asked) >= 80:
                raise EncoderError("the endpoint is down")
            return super().encode_documents(texts)

    data = planted()
    docs = data.write(store)
    failing = Failing("new-model", data.documents, data.new)
    with pytest.raises(EncoderError, match="down"):
        docs.assess_upgrade(**V1_V2, encoder=failing)
    assert docs.spaces["v2"].native == 80


def test_texts_alone_are_enough_where_both_models_are_at_hand(store):
    data = planted()
    docs = store.create_collection("texts")
    docs.upsert(ids=data.ids, documents=data.documents)
    for name, side in (("v1", "old"), ("v2", "new")):
        docs.create_space(name, encoder=data.encoder(side))
    found = docs.assess_upgrade(**V1_V2, queries=data.questions, qrels=data.qrels)
    assert (found.sample, found.embedded, found.pairs) == (200, 400, 200)
    assert {"stay", "stay+lexical", "forward+lexical", "re-embed+lexical"} <= set(figures(found))
    assert {name: status.native for name, status in docs.spaces.items()} == {"v1": 200, "v2": 200}


def test_items_without_a_document_are_left_out_of_what_is_embedded(store):
    data = planted()
    docs = data.write(store, pairs=0)
    docs.upsert(ids=["bare"], vectors={"v1": data.old[:1]})
    found = docs.assess_upgrade(**V1_V2, encoder=data.encoder(), sample=501)
    assert (found.items, found.sample, found.embedded) == (501, 500, 500)


def test_nothing_is_embedded_where_that_was_asked(store):
    data = planted()
    docs = data.write(store, pairs=150)
    encoder = data.encoder()
    found = docs.assess_upgrade(**V1_V2, encoder=encoder, sample=0)
    assert encoder.asked == []
    assert (found.sample, found.embedded) == (150, 0)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("error", "said", "changes"),
    [
        (NotFoundError, "'v9'", {"target": "v9"}),
        (InvalidArgumentError, "twice", {"target": "v1"}),
        (InvalidArgumentError, "queries=", {"qrels": ["d0000"]}),
        (InvalidArgumentError, "use_encoder", {"queries": ["a text"]}),
        (InvalidArgumentError, "at least one query", {"queries": {"v2": np.ones((0, 24))}}),
        (UnpairedRowsError, "old vectors", {"queries": {"v1": np.ones((2, 20)), "v2": THREE}}),
        (UnpairedRowsError, "texts", {"queries": {"v2": THREE, "text": ["one"]}}),
        (UnpairedRowsError, "judgements", {"queries": {"v2": THREE}, "qrels": ["d0000"]}),
        (InvalidArgumentError, "ids in qrels", {"queries": {"v2": THREE}, "qrels": ["x"] * 3}),
        (InvalidArgumentError, "answer with vectors in both", {"queries": {"v2": THREE},
                                                               "qrels": ["d0000"] * 3}),
        (InvalidArgumentError, "k to be an integer", {"k": 0}),
        (InvalidArgumentError, "depths to be an integer", {"depths": [20, 0]}),
        (InvalidArgumentError, "sample", {"sample": 1.5}),
        (InvalidArgumentError, "budget >= 0 and at most 1", {"budget": -0.1}),
        (InvalidArgumentError, "price", {"price": float("inf")}),
        (InvalidArgumentError, "matches nothing", {"where": "n < 0"}),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_by_name(store, error, said, changes):
    docs = planted().write(store, pairs=40)
    with pytest.raises(error, match=said):
        docs.assess_upgrade(**(V1_V2 | changes))


def test_too_few_pairs_without_an_encoder_say_what_to_do(store):
    docs = planted().write(store, pairs=19)
    with pytest.raises(InvalidArgumentError, match=r"at least 20 .* found 19; .*add_vectors"):
        docs.assess_upgrade(**V1_V2)


def test_the_encoder_of_another_model_is_refused(store):
    data = planted()
    docs = data.write(store, pairs=40)
    with pytest.raises(SpaceMismatchError, match="old-model"):
        docs.assess_upgrade(**V1_V2, encoder=data.encoder("old"))
