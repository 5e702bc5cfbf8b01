"""The contract every translator and family keeps, as functions a test suite calls.

Shipped with the package, so that a family written elsewhere is held to the same laws::

    import pytest
    from vecstore_translators.testing import FAMILY_CHECKS

    @pytest.mark.parametrize("check", FAMILY_CHECKS, ids=lambda check: check.__name__)
    def test_my_family(check):
        check(MyFamily())

A check raises AssertionError where the law is broken. The laws themselves are written in
:class:`vecstore_translators.Translator` and :class:`vecstore_translators.TranslatorFamily`.
"""

from vecstore_translators.testing.families import FAMILY_CHECKS
from vecstore_translators.testing.pairs import PlantedPairs, planted_pairs
from vecstore_translators.testing.translators import TRANSLATOR_CHECKS

__all__ = ["FAMILY_CHECKS", "TRANSLATOR_CHECKS", "PlantedPairs", "planted_pairs"]
