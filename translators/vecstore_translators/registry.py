"""What exists: families by name and translator classes by kind.

Adding a family or a translator is one new file and one line here; the contract suite, the
selection and the serialisation then know it.
"""

from __future__ import annotations

from typing import Any

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.base import Translator, TranslatorFamily
from vecstore_translators.composition import Chain
from vecstore_translators.ensemble import Ensemble, EnsembleTranslator
from vecstore_translators.errors import InvalidArgumentError
from vecstore_translators.experimental.vec2vec_translator import Vec2vecTranslator
from vecstore_translators.identity import Identity
from vecstore_translators.kernel import Kernel, KernelTranslator
from vecstore_translators.low_rank import LowRank
from vecstore_translators.mlp import Mlp, MlpTranslator
from vecstore_translators.powers import Powered, SignedPower
from vecstore_translators.procrustes import Procrustes
from vecstore_translators.ridge import Ridge
from vecstore_translators.ridge_procrustes import RidgeProcrustes
from vecstore_translators.truncation import Truncation

_FAMILIES: tuple[type[TranslatorFamily], ...] = (
    Identity,
    Procrustes,
    Ridge,
    RidgeProcrustes,
    LowRank,
    Powered,
    Mlp,
    Kernel,
    Ensemble,
)

_TRANSLATORS: tuple[type[Translator], ...] = (
    AffineTranslator,
    Chain,
    KernelTranslator,
    MlpTranslator,
    SignedPower,
    Truncation,
    EnsembleTranslator,
    Vec2vecTranslator,
)


def families() -> dict[str, type[TranslatorFamily]]:
    """Return every family by name, cheapest first."""
    return {family.name: family for family in sorted(_FAMILIES, key=lambda f: f.cost)}


def get_family(name: str, **hyperparameters: Any) -> TranslatorFamily:
    """Return the family called `name`, with the given hyper-parameters.

    Raises
    ------
    InvalidArgumentError
        No such family, or a hyper-parameter it does not have.

    Examples
    --------
    >>> get_family("ridge", alphas=(0.1,)).label
    'ridge(alphas=(0.1,))'
    """
    known = families()
    if name not in known:
        raise InvalidArgumentError(f"family: expected one of {', '.join(known)}, got {name!r}")
    try:
        return known[name](**hyperparameters)
    except TypeError as error:
        raise InvalidArgumentError(f"family {name}: {error}") from error


def translator_kinds() -> dict[str, type[Translator]]:
    """Return every translator class by the kind its stored files carry."""
    return {translator.kind: translator for translator in _TRANSLATORS}
