"""Alignment without pairs: its parts against brute force, recovery of hidden maps, the gate."""

from __future__ import annotations

import dataclasses
from importlib.resources import as_file, files
from itertools import permutations

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vecstore_translators import unit_rows
from vecstore_translators.errors import (
    CouldNotAlignError,
    DimensionMismatchError,
    InvalidArgumentError,
    NonFiniteError,
    TooFewPairsError,
)
from vecstore_translators.evaluation import top_k
from vecstore_translators.serialization import dump, load
from vecstore_translators.testing import TRANSLATOR_CHECKS
from vecstore_translators.unpaired import UnpairedAligner
from vecstore_translators.unpaired.clusters import match_by_structure, spherical_kmeans
from vecstore_translators.unpaired.gate import Evidence
from vecstore_translators.unpaired.refinement import procrustes, refine

SMALL = UnpairedAligner(landmarks=15, starts=12, restarts=3, attempts=1, axes=(16,), sample=500)


def cloud(n: int, dim: int, seed: int) -> NDArray[np.float32]:
    """Draw rows of a fixed world of 30 uneven clusters, which `seed` does not change."""
    world = np.random.default_rng(99)
    centres = world.normal(size=(30, dim)) * np.linspace(1.5, 0.5, dim)
    weights = world.dirichlet(np.ones(30) * 2)
    rng = np.random.default_rng(seed)
    rows = centres[rng.choice(30, n, p=weights)] + 0.3 * rng.normal(size=(n, dim))
    return unit_rows(rows + 0.3)


def rotation(dim: int, seed: int = 0) -> NDArray[np.float32]:
    square = np.random.default_rng(seed).normal(size=(dim, dim))
    return np.linalg.qr(square)[0].astype(np.float32)


def top1(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return float(np.mean(top_k(found, wanted, 1)[0][:, 0] == np.arange(len(found))))


def test_kmeans_finds_planted_directions() -> None:
    rng = np.random.default_rng(0)
    centres = rotation(12)[:6]
    rows = unit_rows(np.repeat(centres, 50, axis=0) + 0.05 * rng.normal(size=(300, 12)))
    found = spherical_kmeans(rows, 6, rng=rng)
    closest = (found @ centres.T).max(axis=0)
    assert (closest > 0.99).all()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_kmeans_never_worsens_its_start() -> None:
    rng = np.random.default_rng(1)
    rows = cloud(400, 10, 3)
    start = spherical_kmeans(rows, 8, rng=rng, iterations=1)
    later = spherical_kmeans(rows, 8, rng=rng, start=start)
    assert (rows @ later.T).max(axis=1).sum() >= (rows @ start.T).max(axis=1).sum() - 1e-3


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_matching_by_structure_is_the_best_of_all_permutations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    S, T = (m + m.T for m in rng.normal(size=(2, 6, 6)))
    outside = ~np.eye(6, dtype=bool)
    best = max((S * T[np.ix_(p, p)])[outside].sum() for p in permutations(range(6)))
    found, value = match_by_structure(S, T, rng=rng, starts=60)
    assert value == pytest.approx((S * T[np.ix_(found, found)])[outside].sum())
    assert value == pytest.approx(best)


def test_matching_by_structure_undoes_a_permutation() -> None:
    rng = np.random.default_rng(0)
    landmarks = unit_rows(rng.normal(size=(20, 8))).astype(float)
    hidden = rng.permutation(20)
    S = landmarks @ landmarks.T
    T = S[np.ix_(hidden, hidden)]
    found, _ = match_by_structure(S, T, rng=rng)
    assert np.array_equal(hidden[found], np.arange(20))


def test_refinement_sharpens_a_rough_map() -> None:
    A, other = (unit_rows(x - x.mean(axis=0)) for x in (cloud(600, 16, 1), cloud(600, 16, 2)))
    hidden = rotation(16)
    noise = np.random.default_rng(0).normal(size=(16, 16))
    rough = procrustes(np.eye(16, dtype=np.float32), (hidden + 0.12 * noise).astype(np.float32))
    sharp = refine(rough, A, other @ hidden, schedule=(10,) * 8)
    np.testing.assert_allclose(sharp @ sharp.T, np.eye(16), atol=1e-6)
    assert np.linalg.norm(sharp - hidden) < 0.5 * np.linalg.norm(rough - hidden)


@pytest.mark.parametrize("wider", [0, 4])
def test_a_hidden_rotation_is_found_from_rows_that_have_no_item_in_common(wider: int) -> None:
    """Also into a wider space, of which the source fills a part."""
    hidden = rotation(24 + wider)[:24]
    X, Y = cloud(1500, 24, 1), cloud(1500, 24, 2) @ hidden + 0.1
    aligned = SMALL.fit(X, Y, seed=0)
    probe = cloud(300, 24, 3)
    wanted = probe @ hidden + 0.1
    mean = Y.mean(axis=0)
    found = aligned.translator.translate(probe)
    assert top1(found - mean, wanted - mean) > 0.95
    cosine = np.sum(unit_rows(found - mean) * unit_rows(wanted - mean), axis=1)
    assert cosine.mean() > 0.9
    assert aligned.evidence.agreement > 0.5
    assert aligned.evidence.control < 0.1


def test_the_same_seed_gives_the_same_map_which_is_an_ordinary_translator() -> None:
    X, Y = cloud(1500, 24, 1), cloud(1500, 24, 2) @ rotation(24)
    X_before = X.copy()
    first = SMALL.fit(X, Y, seed=5).translator
    assert np.array_equal(SMALL.fit(X, Y, seed=5).translator.weight, first.weight)
    assert np.array_equal(X, X_before)
    for check in TRANSLATOR_CHECKS:
        check(first)
    assert first.invertible
    assert np.array_equal(load(dump(first)).translate(X[:5]), first.translate(X[:5]))


def test_a_failed_attempt_is_made_good_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The halves fail in turn; the map each finds at another time is still weighed."""
    hidden = rotation(24).astype(float)
    maps = iter((hidden, rotation(24, 5).astype(float), rotation(24, 6).astype(float), hidden))
    monkeypatch.setattr(UnpairedAligner, "_fit_half", lambda *arguments: next(maps))
    X, Y = cloud(1500, 24, 1), cloud(1500, 24, 2) @ rotation(24)
    aligned = dataclasses.replace(SMALL, attempts=2).fit(X, Y)
    assert aligned.evidence.agreement == 1.0
    assert top1(aligned.translator.translate(X[:200]), X[:200] @ rotation(24)) > 0.95


def test_unrelated_clouds_are_refused() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, 1500, 24)).astype(np.float32)
    with pytest.raises(CouldNotAlignError, match="pairs"):
        SMALL.fit(noise[0], noise[1])
    with pytest.raises(CouldNotAlignError):
        SMALL.fit(cloud(1500, 24, 1), noise[1])


def test_the_gate_needs_agreement_beyond_the_control_and_closeness_beyond_chance() -> None:
    good = Evidence(agreement=0.9, control=0.01, structure=0.9, unrelated=0.4)
    good.require(agreement=0.5, structure=0.5)
    assert good.to_dict()["agreement"] == 0.9
    for bad in (
        Evidence(agreement=0.3, control=0.01, structure=0.9, unrelated=0.4),
        Evidence(agreement=0.9, control=0.5, structure=0.9, unrelated=0.4),
        Evidence(agreement=0.9, control=0.01, structure=0.5, unrelated=0.4),
    ):
        with pytest.raises(CouldNotAlignError):
            bad.require(agreement=0.5, structure=0.5)


def test_what_cannot_be_aligned_is_refused_by_name() -> None:
    X = cloud(1500, 24, 1)
    with pytest.raises(TooFewPairsError, match="375"):
        SMALL.fit(X, X[:300])
    broken = X.copy()
    broken[7, 3] = np.nan
    with pytest.raises(NonFiniteError):
        SMALL.fit(X, broken)
    with pytest.raises(InvalidArgumentError, match="differ"):
        SMALL.fit(np.ones_like(X), X)
    with pytest.raises(InvalidArgumentError, match="gate"):
        UnpairedAligner(agreement=0.0)
    with pytest.raises(InvalidArgumentError, match="axes"):
        UnpairedAligner(axes=())
    with pytest.raises(DimensionMismatchError):
        SMALL.fit(X, X @ rotation(24)).translator.translate(X[:, :5])


@pytest.fixture(scope="module")
def dictionary() -> dict[str, NDArray[np.float32]]:
    with as_file(files("vecstore_cli") / "demo_data") as folder:
        items = pq.read_table(folder / "wordnet_items.parquet")
    columns = {name: items[name].combine_chunks() for name in ("static256", "minilm384")}
    return {n: unit_rows(c.values.to_numpy().reshape(len(c), -1)) for n, c in columns.items()}


@pytest.mark.slow
def test_halves_of_the_dictionary_are_aligned(dictionary: dict[str, NDArray[np.float32]]) -> None:
    order = np.random.default_rng(7).permutation(4000)
    X = dictionary["minilm384"]
    Y = X @ rotation(384)
    aligned = UnpairedAligner().fit(X[order[:1800]], Y[order[1800:3600]])
    probe, mean = order[3600:], Y[order[1800:3600]].mean(axis=0)
    found = aligned.translator.translate(X[probe]) - mean
    assert top1(found, Y[probe] - mean) > 0.95


@pytest.mark.slow
def test_models_that_arrange_words_differently_are_refused(
    dictionary: dict[str, NDArray[np.float32]],
) -> None:
    order = np.random.default_rng(7).permutation(4000)
    X, Y = dictionary["static256"], dictionary["minilm384"]
    with pytest.raises(CouldNotAlignError, match="could not align"):
        UnpairedAligner(attempts=1, sample=1000).fit(X[order[:1800]], Y[order[1800:3600]])
