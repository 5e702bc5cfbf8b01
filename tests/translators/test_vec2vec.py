"""The adversarial translator: it runs, it repeats itself, it is stored, and it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vecstore_translators import unit_rows
from vecstore_translators.errors import (
    CouldNotAlignError,
    DimensionMismatchError,
    InvalidArgumentError,
    TooFewPairsError,
)
from vecstore_translators.experimental.vec2vec import AdversarialAligner
from vecstore_translators.experimental.vec2vec_training import train
from vecstore_translators.experimental.vec2vec_translator import LAYERS, Vec2vecTranslator
from vecstore_translators.serialization import dump, load
from vecstore_translators.testing import TRANSLATOR_CHECKS

SHORT = AdversarialAligner(width=16, steps=20, batch=32)


def rows(n: int, dim: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return unit_rows(rng.normal(size=(n, dim)) * np.linspace(2, 0.5, dim))


def translator(source_dim: int = 6, target_dim: int = 5, seed: int = 0) -> Vec2vecTranslator:
    layers = train(SHORT, rows(64, source_dim, 1), rows(64, target_dim, 2), seed=seed)
    means = {"mean_source": rows(1, source_dim, 3)[0], "mean_target": rows(1, target_dim, 4)[0]}
    return Vec2vecTranslator(arrays={**layers, **means}, spread=0.7, hyperparameters={"steps": 20})


def test_translation_is_what_the_trained_network_computes() -> None:
    fitted = translator()
    arrays = {name: torch.from_numpy(np.array(a)) for name, a in fitted.parameters().items()}
    given = rows(10, 6, 5)

    def layer(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ arrays[f"{name}.weight"] + arrays[f"{name}.bias"]

    silu = torch.nn.functional.silu
    u = torch.nn.functional.normalize(torch.from_numpy(given) - arrays["mean_source"])
    h = layer("encode", silu(layer("adapter", u)))
    z = h + layer("remix", silu(layer("mix", h)))
    y = torch.nn.functional.normalize(layer("output", silu(layer("decode", z))))
    expected = arrays["mean_target"] + 0.7 * y
    np.testing.assert_allclose(fitted.translate(given), expected.numpy(), atol=1e-5)


def test_it_keeps_the_laws_of_a_translator_and_survives_storage() -> None:
    fitted = translator()
    for check in TRANSLATOR_CHECKS:
        check(fitted)
    again = load(dump(fitted))
    assert np.array_equal(again.translate(rows(9, 6, 7)), fitted.translate(rows(9, 6, 7)))
    centre = fitted.parameters()["mean_source"][np.newaxis]
    assert np.isfinite(fitted.translate(centre)).all()


def test_training_is_seeded_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first, again, other = translator(seed=1), translator(seed=1), translator(seed=2)
    assert torch.equal(torch.rand(3), expected)
    name = f"{LAYERS[0]}.weight"
    assert np.array_equal(first.parameters()[name], again.parameters()[name])
    assert not np.array_equal(first.parameters()[name], other.parameters()[name])


def test_training_learns_to_keep_the_inner_products() -> None:
    """The target is the source, rotated; what a short game learns is at least its geometry."""
    source = rows(600, 8, 1)
    target = rows(600, 8, 2) @ np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    probe = unit_rows(rows(200, 8, 9))
    means = {"mean_source": np.zeros(8, np.float32), "mean_target": np.zeros(8, np.float32)}
    errors = []
    for steps in (1, 150):
        settings = AdversarialAligner(width=16, steps=steps, batch=32)
        layers = train(settings, source, target.astype(np.float32), seed=0)
        fitted = Vec2vecTranslator(arrays={**layers, **means}, spread=1.0, hyperparameters={})
        moved = fitted.directions(probe)
        errors.append(float(np.mean((moved @ moved.T - probe @ probe.T) ** 2)))
    assert errors[1] < 0.3 * errors[0]


def planted(rotation: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return layers that rotate exactly, since σ(x) - σ(-x) = x."""
    eye, none = np.eye(len(rotation), dtype=np.float32), np.zeros_like(rotation)
    weights = {
        "adapter": np.hstack([eye, -eye]),
        "encode": np.vstack([eye, -eye]),
        "mix": eye,
        "remix": none,
        "decode": np.hstack([rotation, -rotation]),
        "output": np.vstack([eye, -eye]),
    }
    layers = {f"{name}.weight": weight for name, weight in weights.items()}
    biases = {f"{name}.bias": np.zeros(w.shape[1], np.float32) for name, w in weights.items()}
    return {**layers, **biases}


def test_maps_that_two_halves_agree_on_pass_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0].astype(np.float32)
    module = "vecstore_translators.experimental.vec2vec.train"
    monkeypatch.setattr(module, lambda *rows, seed: planted(hidden))
    source, target = rows(2000, 6, 1) + 0.2, rows(2000, 6, 2) @ hidden + 0.5
    aligned = SHORT.fit(source, target)
    assert aligned.evidence.agreement == 1.0
    moved = aligned.translator.translate(source) - target.mean(axis=0)
    direction = unit_rows(source - source.mean(axis=0)) @ hidden
    np.testing.assert_allclose(unit_rows(moved), direction, atol=1e-4)
    wrong = iter((planted(hidden), planted(-hidden)))
    monkeypatch.setattr(module, lambda *rows, seed: next(wrong))
    with pytest.raises(CouldNotAlignError):
        SHORT.fit(source, target)


def test_what_two_halves_do_not_agree_on_is_refused() -> None:
    with pytest.raises(CouldNotAlignError, match="could not align"):
        SHORT.fit(rows(300, 6, 1), rows(300, 5, 2))


def test_nonsense_is_refused_by_name() -> None:
    with pytest.raises(TooFewPairsError, match="200"):
        SHORT.fit(rows(100, 6, 1), rows(300, 5, 2))
    with pytest.raises(InvalidArgumentError, match="agreement"):
        AdversarialAligner(agreement=0)
    with pytest.raises(InvalidArgumentError, match="cycle"):
        AdversarialAligner(cycle=-1.0)
    arrays = translator().parameters()
    with pytest.raises(DimensionMismatchError, match="encode"):
        Vec2vecTranslator(
            arrays={**arrays, "encode.bias": np.zeros(3, np.float32)},
            spread=1.0,
            hyperparameters={},
        )
    with pytest.raises(DimensionMismatchError, match="target"):
        Vec2vecTranslator(
            arrays={**arrays, "mean_target": np.zeros(3, np.float32)},
            spread=1.0,
            hyperparameters={},
        )
    with pytest.raises(InvalidArgumentError, match="spread"):
        Vec2vecTranslator(arrays=arrays, spread=0.0, hyperparameters={})
