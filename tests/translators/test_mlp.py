"""The network family: starts from ridge, ranks better where the map is curved, serves by numpy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vecstore_translators import Mlp, MlpTranslator, Ridge, dump, load
from vecstore_translators.affine import AffineTranslator
from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    MissingDependencyError,
)
from vecstore_translators.evaluation import overlap_at_k, top_k


def curved_pairs(n: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return pairs joined by a smooth map that no affine one can follow."""
    planted = np.random.default_rng(99)
    inner, outer = planted.normal(size=(6, 30)), planted.normal(size=(30, 10)) / 5
    X = np.random.default_rng(seed).normal(size=(n, 6))
    return X.astype(np.float32), np.tanh(X @ inner / 2).dot(outer).astype(np.float32)


def test_without_training_the_map_is_ridge() -> None:
    X, Y = curved_pairs(200)
    base = Ridge(alphas=(0.1,))
    untrained = Mlp(base=base, stops=(0,)).fit(X, Y)
    np.testing.assert_array_equal(untrained.translate(X), base.fit(X, Y).translate(X))


def test_training_ranks_held_out_documents_better_than_ridge() -> None:
    X, Y = curved_pairs(800)
    Z, truth = curved_pairs(300, seed=1)
    native, _ = top_k(truth, truth, 10)
    base = Ridge(alphas=(0.01,))
    scores = []
    for family in (base, Mlp(base=base, width=256, stops=(120,))):
        found, _ = top_k(truth, family.fit(X, Y).translate(Z), 10)
        scores.append(float(overlap_at_k(found, native).mean()))
    assert scores[1] > scores[0] + 0.015


def test_training_stops_at_once_where_ridge_is_all_there_is() -> None:
    """With independent pairs a network can only learn noise; what it chose is written down."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 8)), rng.normal(size=(60, 8))
    family = Mlp(width=64, steps=40, stops=(0, 20, 40)).tuned(X, Y)
    assert len(family.stops) == 1
    assert family.fit(X, Y).hyperparameters["batches"] == family.stops[0]
    curved = curved_pairs(400)
    assert Mlp(width=256, stops=(0, 120)).tuned(*curved).stops == (120,)


def test_the_stored_map_is_the_trained_network_of_torch() -> None:
    X, Y = curved_pairs(300)
    fitted = Mlp(base=Ridge(alphas=(0.1,)), width=32, stops=(30,)).fit(X, Y)
    x = torch.from_numpy(X)
    layers = [torch.from_numpy(a.copy()) for a in (fitted.hidden, fitted.offset, fitted.output)]
    expected = torch.from_numpy(fitted.base.translate(X)) + (
        torch.relu(x @ layers[0] + layers[1]) @ layers[2]
    )
    np.testing.assert_allclose(fitted.translate(X), expected.numpy(), atol=1e-5)


def test_serving_needs_no_torch(tmp_path) -> None:
    X, Y = curved_pairs(100)
    fitted = Mlp(base=Ridge(alphas=(0.1,)), width=16, stops=(5,)).fit(X, Y)
    for name, data in dump(fitted).items():
        (tmp_path / name).write_bytes(data)
    np.save(tmp_path / "x.npy", X)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, pathlib; from vecstore_translators import load\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "names = ('model.safetensors', 'config.json')\n"
        "files = {name: (here / name).read_bytes() for name in names}\n"
        "np.save(here / 'y.npy', load(files).translate(np.load(here / 'x.npy')))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), fitted.translate(X), atol=1e-6)
    assert isinstance(load(dump(fitted)), MlpTranslator)


def test_training_without_torch_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = curved_pairs(50)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match="train"):
        Mlp().fit(X, Y)


def test_bad_hyperparameters_and_layers_are_refused() -> None:
    for stops in ((), (10, 5), (-1,), (500,)):
        with pytest.raises(InvalidArgumentError, match="stops"):
            Mlp(stops=stops)
    base = AffineTranslator(np.eye(3), np.zeros(3))
    with pytest.raises(DimensionMismatchError, match="layers"):
        MlpTranslator(base, np.zeros((3, 5)), np.zeros(4), np.zeros((5, 3)))
