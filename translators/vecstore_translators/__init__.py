"""Translators between embedding spaces: arrays in, arrays out.

Fit a map from paired vectors, choose it by held-out retrieval, apply it, store it. This
package knows no files, ids or databases, and needs numpy and safetensors only.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> X = unit_rows(rng.normal(size=(200, 8)))
>>> rotation, _ = np.linalg.qr(rng.normal(size=(8, 8)))
>>> selection = select_translator(X, X @ rotation)
>>> selection.family.name
'procrustes'
>>> bool(np.allclose(selection.translator.translate(X[:2]), X[:2] @ rotation, atol=1e-3))
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vecstore_translators.affine import AffineTranslator
    from vecstore_translators.base import AffineFamily, Translator, TranslatorFamily
    from vecstore_translators.basis_transformation import BasisTransformation
    from vecstore_translators.chaining import ChainFit, ChainLoss, fit_chain, measure_chain
    from vecstore_translators.composition import Chain, compose
    from vecstore_translators.drift import DomainDrift, measure_drift
    from vecstore_translators.ensemble import Ensemble, EnsembleTranslator
    from vecstore_translators.evaluation import Interval
    from vecstore_translators.identity import Identity
    from vecstore_translators.kernel import Kernel, KernelTranslator
    from vecstore_translators.low_rank import LowRank
    from vecstore_translators.mlp import Mlp, MlpTranslator
    from vecstore_translators.offset import score_offset
    from vecstore_translators.powers import Powered, SignedPower
    from vecstore_translators.prediction import QualityPrediction, predict_quality
    from vecstore_translators.procrustes import Procrustes
    from vecstore_translators.reference import PairReference
    from vecstore_translators.registry import families, get_family
    from vecstore_translators.ridge import Ridge
    from vecstore_translators.ridge_procrustes import RidgeProcrustes
    from vecstore_translators.selection import Candidate, Selection, select_translator
    from vecstore_translators.serialization import dump, load
    from vecstore_translators.statistics import PairAccumulator, PairStatistics
    from vecstore_translators.truncation import Truncation
    from vecstore_translators.uncertainty import HitDoubts, TranslationUncertainty
    from vecstore_translators.validation import Metric, unit_rows

__all__ = [
    "AffineFamily",
    "AffineTranslator",
    "BasisTransformation",
    "Candidate",
    "Chain",
    "ChainFit",
    "ChainLoss",
    "DomainDrift",
    "Ensemble",
    "EnsembleTranslator",
    "HitDoubts",
    "Identity",
    "Interval",
    "Kernel",
    "KernelTranslator",
    "LowRank",
    "Metric",
    "Mlp",
    "MlpTranslator",
    "PairAccumulator",
    "PairReference",
    "PairStatistics",
    "Powered",
    "Procrustes",
    "QualityPrediction",
    "Ridge",
    "RidgeProcrustes",
    "Selection",
    "SignedPower",
    "TranslationUncertainty",
    "Translator",
    "TranslatorFamily",
    "Truncation",
    "compose",
    "dump",
    "families",
    "fit_chain",
    "get_family",
    "load",
    "measure_chain",
    "measure_drift",
    "predict_quality",
    "score_offset",
    "select_translator",
    "unit_rows",
]

# Names are looked up when they are used: a database that only searches needs none of the fitting,
# and importing all of it takes as long as opening a million rows.
_MODULES = {
    "AffineFamily": "base",
    "AffineTranslator": "affine",
    "BasisTransformation": "basis_transformation",
    "Candidate": "selection",
    "Chain": "composition",
    "ChainFit": "chaining",
    "ChainLoss": "chaining",
    "DomainDrift": "drift",
    "Ensemble": "ensemble",
    "EnsembleTranslator": "ensemble",
    "HitDoubts": "uncertainty",
    "Identity": "identity",
    "Interval": "evaluation",
    "Kernel": "kernel",
    "KernelTranslator": "kernel",
    "LowRank": "low_rank",
    "Metric": "validation",
    "Mlp": "mlp",
    "MlpTranslator": "mlp",
    "PairAccumulator": "statistics",
    "PairReference": "reference",
    "PairStatistics": "statistics",
    "Powered": "powers",
    "Procrustes": "procrustes",
    "QualityPrediction": "prediction",
    "Ridge": "ridge",
    "RidgeProcrustes": "ridge_procrustes",
    "Selection": "selection",
    "SignedPower": "powers",
    "TranslationUncertainty": "uncertainty",
    "Translator": "base",
    "TranslatorFamily": "base",
    "Truncation": "truncation",
    "compose": "composition",
    "dump": "serialization",
    "families": "registry",
    "fit_chain": "chaining",
    "get_family": "registry",
    "load": "serialization",
    "measure_chain": "chaining",
    "measure_drift": "drift",
    "predict_quality": "prediction",
    "score_offset": "offset",
    "select_translator": "selection",
    "unit_rows": "validation",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
