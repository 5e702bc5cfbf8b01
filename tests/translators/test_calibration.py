"""Score calibration: scores of one kind come to the scale of another and keep their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecstore_translators.calibration import ScoreCalibration
from vecstore_translators.errors import UnpairedRowsError


@given(
    slope=st.floats(0.05, 20),
    intercept=st.floats(-5, 5),
    documents=st.integers(6, 400),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_planted_line_is_recovered(
    slope: float, intercept: float, documents: int, seed: int
) -> None:
    own = np.random.default_rng(seed).normal(size=(3, documents)).astype(np.float32)
    wanted = (slope * own + intercept).astype(np.float32)
    np.testing.assert_allclose(ScoreCalibration.fit(own, wanted)(own), wanted, atol=1e-3)


def test_each_query_gets_a_line_of_its_own() -> None:
    own = np.random.default_rng(0).normal(size=(2, 100)).astype(np.float32)
    wanted = np.stack([3 * own[0] + 1, 0.1 * own[1] - 2]).astype(np.float32)
    calibration = ScoreCalibration.fit(own, wanted)
    np.testing.assert_allclose(calibration.slope[:, 0], [3, 0.1], rtol=1e-3)
    np.testing.assert_allclose(calibration.intercept[:, 0], [1, -2], atol=1e-3)


@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_scores_never_changes_however_the_two_disagree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(4, 60)).astype(np.float32)
    calibration = ScoreCalibration.fit(own, rng.normal(size=(4, 60)).astype(np.float32))
    assert (calibration.slope > 0).all()
    scores = np.sort(rng.normal(size=(4, 9)).astype(np.float32), axis=1)
    assert (np.diff(calibration(scores), axis=1) >= 0).all()


def test_constant_scores_are_shifted_not_blown_up() -> None:
    own = np.full((1, 50), 0.9, dtype=np.float32)
    wanted = np.linspace(0, 1, 50, dtype=np.float32)[None, :]
    calibration = ScoreCalibration.fit(own, wanted)
    assert calibration(own) == pytest.approx(np.full((1, 50), 0.5), abs=1e-5)


def test_tables_of_different_shapes_are_refused() -> None:
    with pytest.raises(UnpairedRowsError, match="same queries and documents"):
        ScoreCalibration.fit(np.zeros((2, 5), np.float32), np.zeros((2, 6), np.float32))
