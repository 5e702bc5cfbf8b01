"""benchmarks/ann.py: a file of ann-benchmarks in, results that its plots can read out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ann.py"


@pytest.mark.parametrize("distance", ["angular", "euclidean"])
def test_results_hold_the_true_neighbours_and_what_plots_need(
    tmp_path: Path, distance: str
) -> None:
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(300, 12)), rng.normal(size=(20, 12))
    if distance == "angular":
        unit = train / np.linalg.norm(train, axis=1, keepdims=True)
        true = 1 - (test / np.linalg.norm(test, axis=1, keepdims=True)) @ unit.T
    else:
        true = np.linalg.norm(test[:, None] - train[None], axis=2)
    order = np.argsort(true, axis=1)
    path = tmp_path / f"planted-12-{distance}.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs["distance"] = distance
        file["train"], file["test"] = train.astype("f4"), test.astype("f4")
        file["neighbors"] = order[:, :100].astype("i4")
        file["distances"] = np.take_along_axis(true, order, axis=1)[:, :100].astype("f4")
    command = [sys.executable, str(SCRIPT), "--file", str(path), "--results", str(tmp_path / "r")]
    done = subprocess.run([*command, "--runs", "1", "--json", str(tmp_path / "ann.json")],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = sorted((tmp_path / "r" / path.stem / "10" / "vecstore").glob("*.hdf5"))
    assert len(written) == 6
    with h5py.File(tmp_path / "r" / path.stem / "10" / "vecstore" / "hnsw_16_200_512.hdf5") as file:
        # The graph's float16 may put another row in the tenth place, if it is as near but for that.
        found = file["neighbors"][:]
        pairs = zip(found.tolist(), order[:, :10].tolist(), strict=True)
        assert np.mean([len(set(a) & set(b)) / 10 for a, b in pairs]) >= 0.99
        expected = np.take_along_axis(true, order, axis=1)[:, :10]
        np.testing.assert_allclose(file["distances"][:], expected, atol=2e-3)
        assert file["times"].shape == (20,)
        attributes = dict(file.attrs)
    assert (attributes["dataset"], attributes["distance"]) == (path.stem, distance)
    assert (attributes["algo"], attributes["count"]) == ("vecstore", 10)
    wanted = {"build_time", "index_size", "best_search_time", "candidates", "run_count", "name"}
    assert wanted <= set(attributes)
