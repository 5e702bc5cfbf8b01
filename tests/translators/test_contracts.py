"""Every registered family, and every translator it fits, keeps the shipped contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vecstore_translators import Mlp, TranslatorFamily, families, get_family
from vecstore_translators.errors import InvalidArgumentError
from vecstore_translators.registry import translator_kinds
from vecstore_translators.testing import FAMILY_CHECKS

CANDIDATES = [candidate for family in families().values() for candidate in family.candidates()]

# The laws hold at any size: a family that trains for long is checked small every time, and as
# it is by default among the slow tests. Everything else in the registry is checked as it is.
SMALL = {Mlp.name: Mlp(width=32, steps=10, stops=(10,))}
CASES = [SMALL.get(candidate.name, candidate) for candidate in CANDIDATES] + [
    pytest.param(candidate, marks=pytest.mark.slow)
    for candidate in CANDIDATES
    if candidate.name in SMALL
]


@pytest.mark.parametrize("check", FAMILY_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("family", CASES, ids=lambda family: family.label)
def test_family_keeps_the_law(
    family: TranslatorFamily, check: Callable[[TranslatorFamily], None]
) -> None:
    check(family)


def test_registry_builds_families_by_name_cheapest_first() -> None:
    assert next(iter(families())) == "identity"
    costs = [family.cost for family in families().values()]
    assert costs == sorted(costs)
    for name, family in families().items():
        assert get_family(name) == family()
    assert translator_kinds()["affine"].__name__ == "AffineTranslator"


def test_registry_refuses_unknown_names_and_hyperparameters() -> None:
    with pytest.raises(InvalidArgumentError, match="procrustes"):
        get_family("procrustez")
    with pytest.raises(InvalidArgumentError, match="alpha"):
        get_family("ridge", alpha=3)
    with pytest.raises(InvalidArgumentError, match="alphas"):
        get_family("ridge", alphas=(-1.0,))
