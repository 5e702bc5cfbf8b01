"""The parts of an assessment against brute force: sample, shortlists, weights, choice, history."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vecstore.upgrade_examples import planted
from vecstore.rows import RowSet
from vecstore.upgrade.assessment import Cost, UpgradeOption
from vecstore.upgrade.history import coverage_history
from vecstore.upgrade.measure import Measured, Prices
from vecstore.upgrade.questions import Questions
from vecstore.upgrade.recommend import EQUAL, recommend
from vecstore.upgrade.sample import chosen_rows
from vecstore.upgrade.simulation import Judge, Table, Tables, Words, cascaded, tuned
from vecstore_translators.evaluation import bootstrap_interval

CORPUS = RowSet.of(np.arange(100))


# ------------------------------------------------------------------ the sample


def test_a_sample_holds_all_answers_then_heads_rank_by_rank_then_any():
    relevant = np.array([[3, 50], [7, -1], [200, -1]])
    rankings = [np.array([[90, 91], [92, 93]]), np.array([[94, 3], [-1, -1]])]

    def chosen(size):
        return set(
            chosen_rows(
                CORPUS, relevant=relevant, rankings=rankings, already=RowSet.of([]), size=size,
                seed=0,
            ).tolist()
        )  # fmt: skip

    answers = {3, 7, 50}
    assert chosen(3) == answers
    assert chosen(6) == answers | {90, 92, 94}
    assert chosen(8) == answers | {90, 92, 94, 91, 93}
    assert chosen(20) > chosen(8)
    assert chosen(1_000) == set(range(100))
    for size in range(1, 30):
        assert len(chosen(size)) == size
    assert chosen(2) < answers


def test_what_is_embedded_already_belongs_to_the_sample():
    rows = chosen_rows(
        CORPUS, relevant=np.array([[3], [4]]), rankings=[], already=RowSet.of([60, 61, 62]),
        size=5, seed=0,
    )  # fmt: skip
    assert rows.tolist() == [3, 4, 60, 61, 62]


def test_queries_are_drawn_so_that_their_answers_leave_room():
    questions = Questions(
        source=None, target=np.zeros((50, 2), np.float32),
        relevant=np.arange(200).reshape(50, 4), gains=np.ones((50, 4)),
    )  # fmt: skip
    assert len(questions.some(most=100, answers=1_000, seed=0)) == 50
    assert len(questions.some(most=20, answers=1_000, seed=0)) == 20
    assert len(questions.some(most=100, answers=41, seed=0)) == 10
    assert len(questions.some(most=100, answers=1, seed=0)) == 1
    answered = questions.answered(np.array([5, 9, 10]))
    assert answered.relevant.tolist() == [[4, 5, 6, 7], [8, 9, 10, 11]]


# ------------------------------------------------------------------ shortlists and spreads


@pytest.fixture
def world():
    """Return scores of a whole collection, and tables of a part of it."""
    rng = np.random.default_rng(0)
    forward, native, words = (rng.normal(size=(30, 400)).astype(np.float32) for _ in range(3))
    words = np.maximum(words, 0)
    inside, outside = np.arange(80), np.arange(80, 400)
    empty = native[:, :0]
    tables = Tables(
        stands_for=1.0,
        native=Table.of(native[:, inside], empty, stands_for=0),
        forward=Table.of(forward[:, inside], forward[:, outside], stands_for=1.0),
        query=Table.of(forward[:, inside], forward[:, outside], stands_for=1.0),
        translated=forward[:, inside],
        words=Words(inside=words[:, inside], outside=words[:, outside]),
    )
    return forward, native, words, tables


@pytest.mark.parametrize("weight", [None, 3.0])
@pytest.mark.parametrize("depth", [1, 5, 60, 400])
def test_a_shortlist_is_that_of_the_whole_collection(world, weight, depth):
    forward, native, words, tables = world
    lift = 0 if weight is None else weight * forward.std(axis=1, keepdims=True) * words
    whole = np.argsort(-(forward + lift), axis=1)[:, :depth]
    found = cascaded(tables, depth, weight)
    for number in range(len(forward)):
        expected = {row for row in whole[number] if row < 80}
        assert set(np.flatnonzero(np.isfinite(found[number]))) == expected
        listed = sorted(expected)
        wanted = (native + lift)[number, listed]
        np.testing.assert_allclose(found[number, listed], wanted, rtol=1e-5)


def test_a_spread_is_that_of_the_whole_collection(world):
    forward, _, _, tables = world
    np.testing.assert_allclose(tables.forward.spread[:, 0], forward.std(axis=1), rtol=1e-5)
    third = Table.of(forward[:, :80], forward[:, 80::3], stands_for=320 / 107)
    np.testing.assert_allclose(third.spread[:, 0], forward.std(axis=1), rtol=0.15)


def test_what_is_not_in_a_shortlist_is_not_found():
    rows = np.arange(6)
    questions = Questions(
        source=None, target=np.zeros((1, 2), np.float32), relevant=np.array([[2]]),
        gains=np.ones((1, 1)),
    )  # fmt: skip
    judge = Judge(questions, rows, np.zeros((1, 6), np.float32), k=6)
    scores = np.full((1, 6), -np.inf, np.float32)
    assert judge(scores).tolist() == [0.0]
    scores[0, 2] = -5.0
    assert judge(scores).tolist() == [1.0]


def test_a_weight_is_judged_by_queries_that_did_not_choose_it():
    # Each query likes its own half's weight, so the other half's choice is worth nothing.
    def judged(weight):
        even = np.arange(10) % 2 == 0
        return np.where(even, float(weight == 2.0), float(weight == 8.0))

    values, weight = tuned(judged)
    assert values.tolist() == [0.0] * 10
    assert weight in (2.0, 8.0)
    values, weight = tuned(lambda weight: np.full(9, weight / 12))
    assert (values.tolist(), weight) == ([1.0] * 9, 12.0)
    assert tuned(lambda weight: np.ones(1))[0].tolist() == [1.0]


# ------------------------------------------------------------------ the choice


def option(name, mean, documents=0, per_query=0.0, *, n=400, noise=0.0):
    values = np.full(n, mean) + noise * np.resize([1.0, -1.0], n)
    return Measured(
        option=UpgradeOption(
            name=name, title=name, quality=bootstrap_interval(values), gain=None,
            cost=Cost(documents=documents, documents_per_query=per_query),
        ),
        values=values,
    )  # fmt: skip


def choice(*options, budget=1.0):
    return recommend(options, items=1_000, budget=budget, metric="ndcg", k=10)


def test_the_cheapest_of_equals_is_taken():
    full = option("re-embed", 0.8, documents=900)
    deep = option("cascade@50", 0.8 - EQUAL["ndcg"] / 2, per_query=50)
    shallow = option("cascade@20", 0.8 - 2 * EQUAL["ndcg"], per_query=20)
    stay, query = option("stay", 0.5), option("query-side", 0.7)
    forward = option("forward", 0.7)
    assert choice(stay, query, forward, shallow, deep, full).option == "cascade@50"
    assert choice(stay, query, forward, shallow, full).option == "re-embed"
    poor = choice(stay, query, forward, full, budget=0.5)
    assert (poor.option, poor.retention) == ("forward", pytest.approx(0.7 / 0.8))


def test_without_judgements_an_answer_almost_like_the_new_models_is_enough():
    options = [
        option("stay", 0.4), option("forward", 0.8), option("cascade@50", 0.96, per_query=50),
        option("re-embed", 1.0, documents=900),
    ]  # fmt: skip
    found = recommend(options, items=1_000, budget=1.0, metric="overlap", k=10)
    assert found.option == "cascade@50"
    assert choice(*options).option == "re-embed"


def test_the_naive_swap_is_never_chosen_and_a_worse_model_never_paid_for():
    options = [option("naive", 0.9), option("stay", 0.6), option("re-embed", 0.55, documents=9)]
    found = choice(*options)
    assert found.option == "stay"
    assert found.retention == pytest.approx(0.6 / 0.55)


def test_a_gain_within_its_interval_of_nothing_is_none():
    noisy = option("forward", 0.62, noise=0.5, n=20)
    stay, full = option("stay", 0.6, n=20), option("re-embed", 0.62, documents=9, n=20)
    assert choice(stay, noisy, full).option == "re-embed"
    found = choice(stay, noisy, option("re-embed", 0.62, documents=9, noise=0.5, n=20))
    assert found.option == "stay"
    assert "cannot tell from it" in found.reason


def test_prices_are_arithmetic():
    prices = Prices(missing=10, pairs_missing=2, characters=80.0, per_second=4.0, price=3.0)
    assert prices.of(10, 5) == Cost(
        documents=10, documents_per_query=5.0, tokens=200, seconds=2.5, price=200 / 1e6 * 3
    )
    unknown = Prices(missing=10, pairs_missing=2, characters=80.0, per_second=None, price=None)
    assert (unknown.of(10).seconds, unknown.of(10).price) == (None, None)


# ------------------------------------------------------------------ the history


def test_the_history_counts_what_each_commit_added_and_still_lives(store):
    data = planted(n=100, queries=1)
    docs = data.write(store, pairs=30)
    docs.add_vectors(ids=data.ids[:20], vectors=data.new[:20], space="v2")
    docs.delete(data.ids[:5])
    points = coverage_history(docs.latest().snapshot, ("v1", "v2"), docs.versions())
    assert [(p.space, p.native, p.items) for p in points] == [
        ("v1", 95, 95), ("v2", 30, 95), ("v2", 45, 95),
    ]  # fmt: skip
    assert [p.at for p in points] == sorted(p.at for p in points)
