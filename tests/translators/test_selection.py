"""Selection finds what was planted, says what it compared, and refuses what it cannot judge."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vecstore_translators import (
    Identity,
    Procrustes,
    Ridge,
    RidgeProcrustes,
    get_family,
    select_translator,
    unit_rows,
)
from vecstore_translators.errors import (
    InvalidArgumentError,
    NonFiniteError,
    TooFewPairsError,
    UnpairedRowsError,
)
from vecstore_translators.folds import held_out_folds
from vecstore_translators.testing import planted_pairs
from vecstore_translators.testing.pairs import Planted


def test_the_planted_map_decides_the_winner() -> None:
    expected: dict[Planted, str] = {
        "identity": "identity",
        "rotation": "procrustes",
        "affine": "ridge",
    }
    for planted, family in expected.items():
        pairs = planted_pairs(planted, n=200)
        selection = select_translator(pairs.X, pairs.Y, metric="l2")
        assert selection.family.name == family
        assert selection.aligned
        error = selection.translator.translate(pairs.held_out_x) - pairs.held_out_y
        assert np.sqrt(np.mean(error**2)) < 0.02


def test_the_report_is_complete_and_consistent() -> None:
    pairs = planted_pairs("affine", n=150, noise=0.3)
    selection = select_translator(pairs.X, pairs.Y)
    scores = [row.score for row in selection.candidates]
    assert scores == sorted(scores, reverse=True)
    assert {row.family.label for row in selection.candidates} == {
        "identity",
        "procrustes",
        "procrustes(center=False)",
        "ridge",
        "ridge_procrustes",
        "kernel",
    }
    assert selection.candidates[0].behind_best == 0
    (own,) = (row for row in selection.candidates if row.family == selection.family)
    assert selection.quality.mean == pytest.approx(own.score)
    assert own.behind_best <= own.behind_best_error
    assert selection.gain is not None
    assert selection.status_quo is not None
    assert selection.gain.mean == pytest.approx(selection.quality.mean - selection.status_quo.mean)
    assert selection.naive_swap is not None
    assert selection.naive_swap.mean == pytest.approx(
        next(row.score for row in selection.candidates if row.family == Identity())
    )
    assert (selection.n_pairs, selection.n_documents, selection.n_queries) == (150, 150, 150)
    assert sum(row.seconds for row in selection.candidates) <= selection.seconds
    with pytest.raises(dataclasses.FrozenInstanceError):
        selection.k = 3  # type: ignore[misc]


def test_shuffled_pairs_score_as_chance_and_a_map_of_noise_is_not_called_aligned() -> None:
    pairs = planted_pairs("affine", n=300)
    selection = select_translator(pairs.X, pairs.Y)
    assert selection.shuffled_pairs.mean == pytest.approx(10 / 300, abs=0.03)
    assert selection.aligned
    for seed in range(1, 6):
        rng = np.random.default_rng([seed, 99])
        noise = select_translator(pairs.X, rng.normal(size=pairs.Y.shape), seed=seed)
        assert not noise.aligned


def test_selection_is_deterministic_and_leaves_its_input_alone() -> None:
    pairs = planted_pairs("affine", n=100, noise=0.2)
    first = select_translator(pairs.X, pairs.Y, seed=4)
    again = select_translator(pairs.X, pairs.Y, seed=4)
    assert first.family == again.family
    assert first.quality == again.quality
    assert np.array_equal(first.translator.translate(pairs.X), again.translator.translate(pairs.X))


def test_held_out_documents_are_never_seen_by_the_fit_that_maps_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A family that memorises its pairs looks perfect in sample; selection must not."""
    rng = np.random.default_rng(5)
    X, Y = rng.normal(size=(60, 80)), rng.normal(size=(60, 20))
    memorising = Ridge(alphas=(1e-9,))
    in_sample = memorising.fit(X, Y).translate(X)
    assert np.abs(in_sample - Y).max() < 1e-2
    selection = select_translator(X, Y, families=[memorising])
    assert selection.quality.mean < 0.35


def test_cosine_ignores_the_length_of_targets() -> None:
    pairs = planted_pairs("affine", n=150, noise=0.2)
    lengths = np.random.default_rng(0).uniform(0.1, 10, size=(150, 1))
    unit = select_translator(pairs.X, unit_rows(pairs.Y))
    stretched = select_translator(pairs.X, unit_rows(pairs.Y) * lengths)
    assert stretched.quality.mean == pytest.approx(unit.quality.mean, abs=1e-3)


def test_query_side_maps_new_queries_onto_old_documents() -> None:
    pairs = planted_pairs("rotation", n=200, source_dim=14, target_dim=10, noise=0.05)
    selection = select_translator(pairs.X, pairs.Y, side="queries", metric="ip")
    assert (selection.translator.source_dim, selection.translator.target_dim) == (14, 10)
    assert selection.naive_swap is None
    assert selection.status_quo is not None
    assert any("identity" in reason for reason in selection.skipped)


@pytest.mark.parametrize("side", ["documents", "queries"])
def test_given_queries_ask_instead_of_documents(side: str) -> None:
    pairs = planted_pairs("rotation", n=150, noise=0.02)
    new, old = (
        (pairs.held_out_y, pairs.held_out_x)
        if side == "documents"
        else (pairs.held_out_x, pairs.held_out_y)
    )
    selection = select_translator(
        pairs.X,
        pairs.Y,
        side=side,  # type: ignore[arg-type]
        queries=new,
        source_queries=old,
        families=[Procrustes(), Ridge()],
    )
    assert selection.n_queries == len(new)
    assert selection.quality.mean > 0.8
    assert selection.status_quo is not None
    alone = select_translator(pairs.X, pairs.Y, queries=pairs.held_out_y, families=[Procrustes()])
    assert alone.status_quo is None
    assert alone.gain is None


def test_many_pairs_are_judged_on_a_sample() -> None:
    pairs = planted_pairs("affine", n=5000, source_dim=6, target_dim=6, noise=0.1)
    selection = select_translator(pairs.X, pairs.Y, families=[Procrustes(), Ridge(alphas=(0.01,))])
    assert (selection.n_documents, selection.n_queries) == (2000, 1000)
    assert selection.family.name == "ridge"


def test_folds_partition_few_rows_and_sample_many() -> None:
    folds = held_out_folds(23, folds=5, pool=100, seed=1)
    assert sorted(np.concatenate(folds)) == list(range(23))
    assert len(folds) == 5
    sampled = held_out_folds(300, folds=5, pool=100, seed=1)
    assert len(np.unique(np.concatenate(sampled))) == 100
    (single,) = held_out_folds(1000, folds=5, pool=100, seed=1)
    assert len(single) == 100


def test_what_cannot_be_judged_is_refused() -> None:
    pairs = planted_pairs(n=100, source_dim=5, target_dim=6)
    X, Y = pairs.X, pairs.Y
    with pytest.raises(TooFewPairsError, match="at least 20"):
        select_translator(X[:19], Y[:19])
    with pytest.raises(UnpairedRowsError):
        select_translator(X, Y[:-1])
    with pytest.raises(InvalidArgumentError, match="identity"):
        select_translator(X, Y, families=[Identity()])
    with pytest.raises(InvalidArgumentError, match="metric"):
        select_translator(X, Y, metric="dot")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="side"):
        select_translator(X, Y, side="both")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="together"):
        select_translator(X, Y, source_queries=X)
    with pytest.raises(UnpairedRowsError, match="source query"):
        select_translator(X, Y, queries=Y, source_queries=X[:3])
    broken = Y.copy()
    broken[3] = 0
    with pytest.raises(NonFiniteError, match="row 3"):
        select_translator(X, broken)


def test_smallest_selection_works() -> None:
    pairs = planted_pairs("rotation", n=20, noise=0.05)
    selection = select_translator(pairs.X, pairs.Y)
    assert selection.n_documents == 20
    assert np.isfinite(selection.translator.translate(pairs.held_out_x)).all()


def test_candidates_keep_their_hyperparameters() -> None:
    family = get_family("ridge_procrustes", alphas=(0.5,))
    pairs = planted_pairs("affine", n=60)
    selection = select_translator(pairs.X, pairs.Y, families=[family, family])
    assert selection.family is family
    assert len(selection.candidates) == 1
    assert RidgeProcrustes() != family
