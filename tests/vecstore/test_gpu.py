"""Work on a device: exact whatever the precision, equal to the CPU, and plain about absences."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import vecstore
from vecstore.errors import InvalidArgumentError
from vecstore.gpu.device import gpu_count, resolve_device
from vecstore.gpu.exact import DeviceRows
from vecstore.gpu.translate import translate, translate_on
from vecstore.indexes.blocks import Block
from vecstore.indexes.gpu_flat import GpuFlatIndex
from vecstore.rows import RowSet
from vecstore_translators import Kernel, Procrustes, Ridge, get_family
from vecstore_translators.ensemble import EnsembleTranslator

PRECISIONS = ["float32", "float16", "bfloat16"]


@pytest.fixture
def device() -> str:
    """The device of this run: --device, or else the CPU."""
    return resolve_device("auto")


def oracle(queries, vectors, row_ids, k, metric, allowed=None):
    """Score in float64; ties by row id."""
    queries, vectors = queries.astype(np.float64), vectors.astype(np.float64)
    if metric == "ip":
        scores = queries @ vectors.T
    else:
        scores = -np.square(queries[:, None] - vectors[None]).sum(axis=2)
    if allowed is not None:
        scores[:, ~allowed.contains(row_ids)] = -np.inf
    order = np.lexsort((np.broadcast_to(row_ids, scores.shape), -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), row_ids[order]


def rows_on(device, vectors, metric, precision, row_ids=None):
    row_ids = np.arange(len(vectors)) * 3 + 7 if row_ids is None else row_ids
    return row_ids, DeviceRows(row_ids, vectors, metric=metric, device=device, precision=precision)


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_rows_that_half_precision_cannot_tell_apart_are_ranked_right(device, metric, precision):
    # 2,000 rows within 1e-3 of each other: bfloat16 has steps of 4e-3 there.
    rng = np.random.default_rng(0)
    centre = rng.standard_normal(32)
    vectors = (centre + 1e-3 * rng.standard_normal((2000, 32))).astype(np.float32)
    queries = rng.standard_normal((5, 32)).astype(np.float32)
    row_ids, rows = rows_on(device, vectors, metric, precision)
    scores, _ = rows.search(queries, 10, None)
    wanted, _ = oracle(queries, vectors, row_ids, 10, metric)
    np.testing.assert_allclose(scores, wanted, rtol=2e-6, atol=2e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", [1e-12, 1.0, 1e5, 1e12])
def test_lengths_beyond_half_precision_are_scaled(device, precision, size):
    rng = np.random.default_rng(1)
    vectors = (size * rng.standard_normal((500, 16))).astype(np.float32)
    queries = rng.standard_normal((4, 16)).astype(np.float32)
    row_ids, rows = rows_on(device, vectors, "ip", precision)
    scores, found = rows.search(queries, 7, None)
    wanted, ids = oracle(queries, vectors, row_ids, 7, "ip")
    np.testing.assert_array_equal(found, ids)
    np.testing.assert_allclose(scores, wanted, rtol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_equal_rows_come_by_ascending_id(device, precision):
    # All equal: nothing but a scan of the whole settles it.
    vectors = np.ones((9000, 8), np.float32)
    row_ids = np.random.default_rng(2).permutation(50_000)[:9000].astype(np.int64)
    _, rows = rows_on(device, vectors, "ip", precision, row_ids)
    _, found = rows.search(np.ones((2, 8), np.float32), 5, None)
    np.testing.assert_array_equal(found, np.broadcast_to(np.sort(row_ids)[:5], (2, 5)))


@pytest.mark.parametrize("share", [0.0, 0.003, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("metric", ["ip", "l2"])
# The best of 20,011 rows are sought among groups of them, and a rest that fills none.
@pytest.mark.parametrize("n", [1500, 20_011])
def test_masks_of_any_size_leave_exactly_their_rows(device, metric, share, n):
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((n, 12)).astype(np.float32)
    queries = rng.standard_normal((70, 12)).astype(np.float32)
    row_ids, rows = rows_on(device, vectors, metric, "float16")
    allowed = RowSet.of(rng.choice(row_ids, int(share * n), replace=False))
    scores, found = rows.search(queries, 9, allowed)
    wanted, ids = oracle(queries, vectors, row_ids, 9, metric, allowed)
    there = np.isfinite(wanted)
    assert (found[~there] == -1).all()
    np.testing.assert_array_equal(found[there], ids[there])
    np.testing.assert_allclose(scores[there], wanted[there], rtol=1e-5, atol=1e-5)


def test_what_rounding_takes_is_measured_not_guessed(device):
    vectors = np.random.default_rng(4).standard_normal((300, 24)).astype(np.float32)
    _, rows = rows_on(device, vectors, "ip", "float16")
    kept = (vectors / np.float32(rows.scale)).astype(np.float16).astype(np.float64) * rows.scale
    assert rows.rounding == pytest.approx(np.linalg.norm(vectors - kept, axis=1).max(), rel=1e-4)
    assert rows.longest == pytest.approx(np.linalg.norm(vectors, axis=1).max(), rel=1e-5)


def test_more_queries_than_a_batch_are_streamed(device, monkeypatch):
    monkeypatch.setattr("vecstore.gpu.exact._QUERIES", 16)
    monkeypatch.setattr("vecstore.gpu.exact._TILE_BYTES", {"cpu": 2**15, "cuda": 2**15})
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((900, 8)).astype(np.float32)
    queries = rng.standard_normal((50, 8)).astype(np.float32)
    row_ids, rows = rows_on(device, vectors, "ip", "float16")
    _, found = rows.search(queries, 4, None)
    np.testing.assert_array_equal(found, oracle(queries, vectors, row_ids, 4, "ip")[1])


def test_a_collection_searches_a_resident_index_as_it_searches_exactly(store, device):
    rng = np.random.default_rng(6)
    docs = store.create_collection("products")
    docs.create_space("v1", dim=16)
    ids = [f"p{n}" for n in range(400)]
    docs.upsert(ids=ids, vectors=rng.standard_normal((400, 16)), metadata={"n": range(400)})
    queries = rng.standard_normal((20, 16))
    plain = docs.search(queries, k=5, where="n % 3 = 0")
    docs.build_index(space="v1", kind="gpu_flat", parameters={"precision": "float16"})
    docs.delete(["p3", "p6"])
    docs.upsert(ids=["new"], vectors=queries[:1], metadata={"n": [0]})
    found = docs.search(queries, k=5, where="n % 3 = 0")
    assert found[0].ids[0] == "new"
    assert "gpu_flat" in str(found.plan)
    exact = {hit.id for hits in plain for hit in hits} - {"p3", "p6"}
    assert exact <= {
        hit.id for hits in docs.search(queries, k=9, where="n % 3 = 0") for hit in hits
    }


def test_translations_on_a_device_equal_those_of_the_translator(device):
    rng = np.random.default_rng(7)
    X = rng.standard_normal((300, 12)).astype(np.float32)
    Y = np.tanh(X @ rng.standard_normal((12, 20))).astype(np.float32)
    fits = [family.fit(X, Y) for family in (Procrustes(), Ridge(), Kernel(), get_family("mlp"))]
    fits.append(EnsembleTranslator((fits[1], fits[2]), (0.25, 0.75)))
    fits.append(get_family("low_rank").fit(X, Y))
    new = rng.standard_normal((150, 12)).astype(np.float32)
    for fit in fits:
        np.testing.assert_allclose(
            translate_on(fit, new, device), fit.translate(new), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            translate(fit, new, device="auto"), fit.translate(new), rtol=1e-4, atol=1e-5
        )


def test_a_device_refuses_what_the_translator_refuses(device):
    rng = np.random.default_rng(8)
    fit = Ridge().fit(rng.standard_normal((50, 4)), rng.standard_normal((50, 3)))
    broken = np.ones((3, 4), np.float32)
    broken[2, 1] = np.nan
    with pytest.raises(vecstore.errors.NonFiniteError, match="row 2"):
        translate_on(fit, broken, device)
    with pytest.raises(vecstore.errors.DimensionMismatchError):
        translate_on(fit, np.ones((3, 5), np.float32), device)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CUDA:0", ""])
def test_what_is_no_device_is_refused(name):
    with pytest.raises(InvalidArgumentError, match="device"):
        resolve_device(name)
    block = Block(row_ids=np.arange(3), vectors=np.eye(3, dtype=np.float32))
    with pytest.raises(InvalidArgumentError, match="device"):
        GpuFlatIndex.build([block], dim=3, metric="ip", parameters={"device": name})


def test_a_gpu_that_is_not_there_is_replaced_by_the_cpu_with_one_warning():
    # In a process of its own: the warning is given once in a process's life.
    script = """
import warnings
from vecstore.gpu.device import DeviceWarning, gpu_count, resolve_device
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    found = [resolve_device(f"cuda:{gpu_count() + 5}") for _ in range(3)]
assert found == ["cpu"] * 3, found
assert [w.category for w in caught] == [DeviceWarning], caught
assert "working on the CPU" in str(caught[0].message)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_environment_says_what_auto_means(monkeypatch):
    monkeypatch.setenv("VECSTORE_DEVICE", "cpu")
    assert resolve_device("auto") == "cpu"
    monkeypatch.setenv("VECSTORE_DEVICE", "tpu")
    with pytest.raises(InvalidArgumentError, match="tpu"):
        resolve_device("auto")
    monkeypatch.delenv("VECSTORE_DEVICE")
    assert resolve_device("auto") == ("cuda:0" if gpu_count() else "cpu")


def test_a_rewrite_imports_no_torch_where_there_is_no_driver(tmp_path):
    if gpu_count():
        return  # here it does, and should
    script = f"""
import sys
import numpy as np, vecstore
rng = np.random.default_rng(0)
with vecstore.open({str(tmp_path / "s")!r}) as store:
    docs = store.create_collection("c")
    docs.create_space("v1", dim=8)
    docs.create_space("v2", dim=8, supersedes="v1")
    X = rng.normal(size=(100, 8))
    docs.upsert(ids=[str(n) for n in range(100)], vectors=X, space="v1")
    Y = X[:50] @ rng.normal(size=(8, 8))
    docs.add_vectors(ids=[str(n) for n in range(50)], vectors=Y, space="v2")
    docs.fit_translator(source="v1", target="v2", family="ridge")
    assert len(docs.search(X[:2], space="v2")) == 2
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
