"""The algebra of translators: neutral element, grouping, inverses, files."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar, Self, final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.base import JSON, Translator
from vecstore_translators.composition import Chain, compose, identity
from vecstore_translators.errors import (
    CorruptFileError,
    DimensionMismatchError,
    InvalidArgumentError,
    UnsupportedOperationError,
)
from vecstore_translators.serialization import dump, load
from vecstore_translators.testing import TRANSLATOR_CHECKS
from vecstore_translators.testing.translators import assert_close


@final
class Bent(Translator):
    """x -> x|x|, with the inverse y -> sign(y) sqrt|y|: nonlinear and invertible."""

    kind: ClassVar[str] = "test-bent"
    __slots__ = ("_power", "_scale")
    _power: float
    _scale: NDArray[np.float32]

    def __init__(self, dim: int, power: float = 2.0) -> None:
        scale = np.ones(dim, dtype=np.float32)
        scale.setflags(write=False)
        object.__setattr__(self, "_scale", scale)
        object.__setattr__(self, "_power", power)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    @property
    def source_dim(self) -> int:
        return len(self._scale)

    @property
    def target_dim(self) -> int:
        return len(self._scale)

    @property
    def invertible(self) -> bool:
        return True

    def inverse(self) -> Bent:
        return Bent(self.source_dim, 1 / self._power)

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        return {"scale": self._scale}

    def settings(self) -> dict[str, JSON]:
        return {"power": self._power}

    @classmethod
    def from_parameters(
        cls, parameters: Mapping[str, NDArray[np.float32]], settings: Mapping[str, JSON]
    ) -> Self:
        return cls(len(parameters["scale"]), float(settings["power"]))

    def _translate_block(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        out[:] = np.sign(block) * np.abs(block) ** self._power


@pytest.fixture(autouse=True)
def _bent_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    from vecstore_translators import registry

    monkeypatch.setattr(registry, "_TRANSLATORS", (*registry._TRANSLATORS, Bent))


def rotation(dim: int, seed: int, scale: float = 1.0) -> AffineTranslator:
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    return AffineTranslator(scale * q, rng.normal(size=dim), f"rotation {seed}")


def affine(source: int, target: int, seed: int) -> AffineTranslator:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(source, target)) / np.sqrt(source)
    return AffineTranslator(weight, rng.normal(size=target), f"affine {seed}")


def rows(dim: int, n: int = 20) -> NDArray[np.float32]:
    return np.random.default_rng(9).normal(size=(n, dim)).astype(np.float32)


@pytest.mark.parametrize("part", [affine(5, 3, 0), Bent(4), rotation(6, 1, 2.0)])
def test_identity_is_neutral_on_both_sides(part: Translator) -> None:
    X = rows(part.source_dim)
    for composed in (
        compose(identity(part.source_dim), part),
        compose(part, identity(part.target_dim)),
        compose(part),
    ):
        assert composed is part
        assert np.array_equal(composed.translate(X), part.translate(X))


def test_identities_compose_to_the_identity() -> None:
    X = rows(4)
    assert np.array_equal(compose(identity(4), identity(4)).translate(X), X)
    with pytest.raises(InvalidArgumentError, match="dim"):
        identity(0)


@settings(deadline=None, max_examples=40)
@given(
    dims=st.lists(st.integers(1, 9), min_size=2, max_size=6),
    bends=st.lists(st.booleans(), min_size=6, max_size=6),
    cut=st.integers(0, 10),
    seed=st.integers(0, 2**16),
)
def test_composition_applies_parts_in_order_however_they_are_grouped(
    dims: list[int], bends: list[bool], cut: int, seed: int
) -> None:
    parts: list[Translator] = []
    for i, (source, target) in enumerate(pairwise(dims)):
        parts.append(affine(source, target, seed + i))
        if bends[i]:
            parts.append(Bent(target, 0.5))
    X = rows(dims[0])
    expected = X
    for part in parts:
        expected = part.translate(expected)
    whole = compose(*parts)
    assert_close(whole.translate(X), expected, 1e-3)
    if len(parts) > 1:
        cut = 1 + cut % (len(parts) - 1)
        grouped = compose(compose(*parts[:cut]), compose(*parts[cut:]))
        assert_close(grouped.translate(X), whole.translate(X), 1e-3)


def test_affine_parts_fold_into_one_matrix_that_names_them() -> None:
    whole = compose(affine(6, 5, 0), compose(affine(5, 7, 1), affine(7, 2, 2)), identity(2))
    assert isinstance(whole, AffineTranslator)
    assert whole.fitted_by == "composition"
    assert whole.hyperparameters["parts"] == ["affine 0", "affine 1", "affine 2"]


def test_folding_loses_nothing_to_float32() -> None:
    # Thirty rotations folded in float64 and rounded once stay orthogonal to float32 rounding.
    whole = compose(*(rotation(32, seed) for seed in range(30)))
    assert isinstance(whole, AffineTranslator)
    gram = whole.weight.astype(np.float64) @ whole.weight.T.astype(np.float64)
    assert np.abs(gram - np.eye(32)).max() < 3e-6


def test_neighbouring_affine_parts_fold_around_what_is_not_affine() -> None:
    whole = compose(affine(3, 4, 0), affine(4, 5, 1), Bent(5), affine(5, 6, 2), affine(6, 2, 3))
    assert isinstance(whole, Chain)
    assert [type(part).__name__ for part in whole.parts] == [
        "AffineTranslator",
        "Bent",
        "AffineTranslator",
    ]
    assert whole.affine is None


def test_inverse_of_a_composition_is_the_reversed_composition_of_inverses() -> None:
    parts = (rotation(6, 0, 2.0), Bent(6), rotation(6, 1), rotation(6, 2, 0.5))
    whole = compose(*parts)
    assert whole.invertible
    X = rows(6)
    assert_close(whole.inverse().translate(whole.translate(X)), X, 1e-3)
    by_hand = compose(*(part.inverse() for part in reversed(parts)))
    Z = whole.translate(X)
    assert_close(whole.inverse().translate(Z), by_hand.translate(Z), 1e-5)


def test_a_composition_with_a_part_that_has_no_inverse_has_none() -> None:
    for whole in (compose(rotation(4, 0), affine(4, 4, 1)), compose(Bent(4), affine(4, 4, 1))):
        assert not whole.invertible
        with pytest.raises(UnsupportedOperationError):
            whole.inverse()


def test_parts_that_do_not_join_are_refused() -> None:
    with pytest.raises(DimensionMismatchError, match="part 1 to take the 3 dimensions"):
        compose(affine(5, 3, 0), affine(4, 2, 1))
    with pytest.raises(DimensionMismatchError):
        Chain((affine(5, 3, 0), Bent(4)))
    with pytest.raises(InvalidArgumentError, match="at least two"):
        Chain((Bent(4),))


CHAINS = [
    Chain((rotation(5, 0, 2.0), Bent(5), rotation(5, 1))),
    Chain((affine(5, 7, 0), Bent(7), affine(7, 3, 1))),
    Chain((affine(5, 7, 0), Chain((affine(7, 4, 1), affine(4, 3, 2))))),
]


@pytest.mark.parametrize("chain", CHAINS, ids=["invertible", "nonlinear", "nested affine"])
@pytest.mark.parametrize("check", TRANSLATOR_CHECKS, ids=lambda check: check.__name__)
def test_chain_keeps_the_law_of_translators(chain, check) -> None:
    check(chain)


@pytest.mark.parametrize("described", ["affine", [{"kind": "affine"}] * 3, [], None])
def test_damaged_chain_files_are_refused(described: JSON, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(load(dump(CHAINS[1])), Chain)
    monkeypatch.setattr(Chain, "settings", lambda self: {"parts": described})
    with pytest.raises(CorruptFileError, match="chain"):
        load(dump(CHAINS[1]))
