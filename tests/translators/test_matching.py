"""Matching: wrong spaces are named, other domains are not accused, tiny batches never are."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    InvalidVectorsError,
)
from vecstore_translators.matching import MIN_CERTAIN, Contrast, match_batch, recognise
from vecstore_translators.signature import SpaceSignature

DIM, TOPICS = 48, 12


class Model:
    """A planted embedding model: a linear map of what a text means, and a mean of its own."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.weight = rng.normal(size=(TOPICS, DIM)) * rng.permutation(np.linspace(2, 0.3, DIM))
        self.mean = rng.normal(size=DIM)

    def embed(self, meaning: np.ndarray, seed: int = 0) -> np.ndarray:
        noise = np.random.default_rng(seed).normal(size=(len(meaning), DIM))
        return (meaning @ self.weight + self.mean + 0.4 * noise).astype(np.float32)


def texts(rows: int, seed: int, *, domain: int = 0) -> np.ndarray:
    """Return meanings; another domain has other usual topics, of which there are as many."""
    rng = np.random.default_rng(seed)
    shift = 0.0 if domain == 0 else np.random.default_rng(domain).normal(size=TOPICS)
    return rng.normal(size=(rows, TOPICS)) + shift


V1, V2, V3 = Model(1), Model(2), Model(3)
OWN = SpaceSignature.fit(V1.embed(texts(600, 1)))
OTHER = SpaceSignature.fit(V2.embed(texts(600, 1)))
THIRD = SpaceSignature.fit(V3.embed(texts(600, 1)))
CONTRASTS = {"v2": Contrast.between(OWN, OTHER), "v3": Contrast.between(OWN, THIRD)}


@pytest.mark.parametrize("rows", [MIN_CERTAIN, 50, 5000])
def test_a_batch_of_another_space_belongs_to_that_one(rows: int) -> None:
    for name, model in (("v2", V2), ("v3", V3)):
        match = match_batch(model.embed(texts(rows, 5), seed=1), OWN, CONTRASTS)
        assert (match.finding, match.space) == ("belongs", name)
        assert match.share > 0.95
        assert match.drift > 2
        assert abs(match.other_drift) < 1


@pytest.mark.parametrize("rows", [1, 2, MIN_CERTAIN, 50, 5000])
def test_a_batch_of_its_own_space_fits(rows: int) -> None:
    findings = [
        match_batch(V1.embed(texts(rows, seed), seed=seed), OWN, CONTRASTS).finding
        for seed in range(20, 40)
    ]
    assert findings == ["fits"] * 20


def test_tiny_batches_of_another_space_resemble_it_and_are_never_certain() -> None:
    for rows in range(1, MIN_CERTAIN):
        match = match_batch(V2.embed(texts(rows, 5), seed=1), OWN, CONTRASTS)
        assert (match.finding, match.space) == ("resembles", "v2")


@pytest.mark.parametrize("domain", range(1, 6))
def test_another_domain_is_no_other_space(domain: int) -> None:
    match = match_batch(V1.embed(texts(200, 5, domain=domain), seed=1), OWN, CONTRASTS)
    assert match.finding in ("fits", "drifted")


def test_a_wrong_space_is_named_for_texts_of_another_domain_too() -> None:
    match = match_batch(V2.embed(texts(200, 5, domain=1), seed=1), OWN, CONTRASTS)
    assert (match.finding, match.space) == ("belongs", "v2")


def test_vectors_of_a_model_that_nobody_knows_have_drifted() -> None:
    unknown = Model(8).embed(texts(200, 5))
    assert match_batch(unknown, OWN, {}).finding == "drifted"
    assert match_batch(unknown, OWN, CONTRASTS).finding == "drifted"
    noise = np.random.default_rng(0).normal(size=(200, DIM))
    assert match_batch(noise, OWN, CONTRASTS).finding == "drifted"


@pytest.mark.parametrize("strays", [3, 15, 45])
def test_some_vectors_of_another_space_make_a_batch_mixed(strays: int) -> None:
    rows = V1.embed(texts(strays * 2 + 10, 5), seed=1)
    rows[:strays] = V2.embed(texts(strays, 6), seed=2)
    match = match_batch(rows, OWN, CONTRASTS)
    assert (match.finding, match.space) == ("mixed", "v2")
    assert match.share == pytest.approx(strays / len(rows), abs=0.02)


def test_copies_of_one_vector_are_judged_as_that_vector_is() -> None:
    for seed in range(20):
        copies = np.repeat(V1.embed(texts(1, seed), seed=seed), 50, axis=0)
        assert match_batch(copies, OWN, CONTRASTS).finding in ("fits", "drifted")
        strays = np.repeat(V2.embed(texts(1, seed), seed=seed), 50, axis=0)
        assert match_batch(strays, OWN, CONTRASTS).space == "v2"


def test_a_close_relative_is_resembled_at_most() -> None:
    tuned = Model(1)
    tuned.weight = tuned.weight + 0.1 * np.random.default_rng(4).normal(size=(TOPICS, DIM))
    relative = SpaceSignature.fit(tuned.embed(texts(2000, 3), seed=3))
    contrast = Contrast.between(SpaceSignature.fit(V1.embed(texts(2000, 1))), relative)
    assert not contrast.strangers
    for rows in (5, 100):
        match = match_batch(tuned.embed(texts(rows, 5)), contrast.own, {"tuned": contrast})
        assert match.finding in ("fits", "resembles")


def test_a_space_is_not_told_apart_from_itself() -> None:
    again = SpaceSignature.fit(V1.embed(texts(600, 11), seed=11))
    contrast = Contrast.between(OWN, again)
    assert abs(contrast.gap) < 0.2
    assert not contrast.strangers
    assert match_batch(V1.embed(texts(200, 5)), OWN, {"again": contrast}).finding == "fits"


def test_random_spaces_are_not_told_apart_nor_recognised() -> None:
    rng = np.random.default_rng(0)
    one, two = (SpaceSignature.fit(rng.normal(size=(500, DIM))) for _ in range(2))
    batch = rng.normal(size=(200, DIM))
    assert match_batch(batch, one, {"two": Contrast.between(one, two)}).finding == "fits"
    assert recognise(batch, {"one": one, "two": two}).finding == "fits"


def test_other_lengths_are_seen_where_directions_fit() -> None:
    raw = V1.embed(texts(100, 5))
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    of_units = SpaceSignature.fit(unit)
    assert match_batch(raw, of_units, {}).finding == "rescaled"
    assert match_batch(unit, of_units, {}).finding == "fits"
    assert match_batch(unit, OWN, {}).finding == "rescaled"
    assert match_batch(raw, OWN, {}).finding == "fits"


def test_the_first_batch_of_a_space_is_recognised_as_that_of_another() -> None:
    others = {"v2": OTHER, "v3": THIRD}
    match = recognise(V3.embed(texts(100, 5), seed=1), others)
    assert (match.finding, match.space) == ("resembles", "v3")
    assert recognise(V1.embed(texts(100, 5), seed=1), others).finding == "fits"
    few = V3.embed(texts(MIN_CERTAIN - 1, 5))
    assert recognise(few, others).finding == "fits"


def test_the_border_lies_between_the_spaces_and_each_vector_has_a_side() -> None:
    contrast = CONTRASTS["v2"]
    assert contrast.strangers
    assert contrast.separation == pytest.approx(1, abs=0.01)
    assert not contrast.beyond(V1.embed(texts(300, 5), seed=1)).any()
    assert contrast.beyond(V2.embed(texts(300, 5), seed=1)).mean() > 0.95


def test_what_cannot_be_matched_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgumentError, match="at least one vector"):
        match_batch(np.empty((0, DIM), np.float32), OWN, CONTRASTS)
    with pytest.raises(InvalidVectorsError):
        recognise(np.zeros(DIM, np.float32), {"v2": OTHER})
    with pytest.raises(DimensionMismatchError):
        match_batch(np.ones((5, 3), np.float32), OWN, CONTRASTS)
    with pytest.raises(InvalidArgumentError, match="one dimension"):
        Contrast.between(OWN, SpaceSignature.fit(np.random.default_rng(0).normal(size=(40, 3))))
