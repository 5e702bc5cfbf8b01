"""hnsw over float16 or float32: which is taken, and what searches answer either way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import vecstore
from vecstore.errors import CorruptFileError, InvalidArgumentError
from vecstore.indexes.blocks import Block, fits_float16
from vecstore.indexes.exact import exact_search
from vecstore.indexes.files import read_header, seal
from vecstore.indexes.hnsw import HnswIndex
from vecstore.indexes.originals import Originals
from vecstore.rows import RowSet

DIM = 24


def unit(n, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def block(vectors, **options):
    return Block(row_ids=np.arange(len(vectors)) + 40, vectors=vectors, **options)


HELD = {
    "unit": unit(500),
    "no rows": unit(0),
    "equal rows": np.ones((30, DIM), np.float32),
    "a zero row": np.concatenate([unit(50), np.zeros((1, DIM), np.float32)]),
    "long": unit(500) * np.float32(1e4),
    "short": unit(500) * np.float32(0.01),
}
LOST = {
    "overflow": unit(500) * np.float32(1e6),
    "one number overflows": np.concatenate([unit(400), np.full((1, DIM), 7e4, np.float32)]),
    "underflow": unit(500) * np.float32(1e-6),
    "one row underflows": np.concatenate([unit(400), unit(1) * np.float32(1e-5)]),
    "far from the origin": unit(500) + np.float32(1000),
}


@pytest.mark.parametrize("name", [*HELD, *LOST])
def test_float16_fits_where_it_tells_rows_apart(name):
    vectors = {**HELD, **LOST}[name]
    halves = np.array_split(np.arange(len(vectors)), 2)
    blocks = [block(vectors[half]) for half in halves]
    assert fits_float16(blocks, DIM) == (name in HELD)


def test_rows_that_are_left_out_do_not_decide():
    vectors = LOST["one number overflows"]
    assert fits_float16([block(vectors, keep=np.arange(401) < 400)], DIM)


@pytest.mark.parametrize("name", [*HELD, *LOST])
def test_auto_takes_float16_where_it_fits(name):
    data = block({**HELD, **LOST}[name])
    sizes = {
        codec: len(_graph(data, codec=codec).to_bytes())
        for codec in ("auto", "fp32", *(["fp16"] if name in HELD else []))
    }
    # Parameters are in the file by name, "auto" and "fp16" among them.
    assert abs(sizes["auto"] - sizes["fp16" if name in HELD else "fp32"]) < 100
    if len(data) >= 400:
        saved = 2 * DIM * len(data) if name in HELD else 0
        assert abs(sizes["fp32"] - sizes["auto"] - saved) < 300


@pytest.mark.parametrize("name", LOST)
def test_float16_is_refused_for_what_it_cannot_hold(name):
    with pytest.raises(InvalidArgumentError, match=r"'codec' is 'fp16'.*'fp32'"):
        _graph(block(LOST[name]), codec="fp16")


@pytest.mark.parametrize("name", ["unit", "long", "overflow", "underflow", "far from the origin"])
@pytest.mark.parametrize("n_queries", [1, 30])
@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_scores_are_those_of_the_vectors_whatever_the_codec(name, n_queries, metric):
    data = block({**HELD, **LOST}[name])
    index = _graph(data, metric=metric, ef_search=400)
    queries = data.vectors[:n_queries] * np.float32(1.01)
    scores, found = index.search(queries, 10, originals=Originals([data]))
    wanted, _ = exact_search(queries, [data], 10, metric=metric)
    size = float(np.square(data.vectors).sum(axis=1).max())
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=2e-5 * size)
    true = data.vectors[found - 40].astype(np.float64)
    if metric == "ip":
        true = np.einsum("qd,qkd->qk", queries.astype(np.float64), true)
    else:
        true = -np.square(true - queries[:, None, :]).sum(axis=2)
    np.testing.assert_allclose(scores, true, rtol=1e-5, atol=1e-6 * size)


def test_without_the_vectors_scores_are_those_of_the_codes():
    data = block(HELD["unit"])
    queries = unit(20, seed=3)
    exact = exact_search(queries, [data], 10, metric="ip")[0]
    off = {
        codec: np.abs(_graph(data, codec=codec, ef_search=400).search(queries, 10)[0] - exact).max()
        for codec in ("fp16", "fp32")
    }
    assert off["fp32"] < 1e-6 < off["fp16"] < 1e-3


def test_a_file_of_another_codec_than_it_says_is_refused():
    data = _graph(block(HELD["unit"]), codec="fp16").to_bytes()
    header = read_header(data)
    lie = replace(header, parameters={**header.parameters, "codec": "fp32"})
    with pytest.raises(CorruptFileError, match=r"IndexHNSWFlat.*IndexHNSWSQ"):
        HnswIndex.from_bytes(data[: header.payload_bytes] + seal(lie))


@pytest.mark.parametrize("codec", ["fp16", "fp32"])
def test_masks_of_one_row_and_of_all_but_one_are_kept_to(codec):
    data = block(unit(3000))
    index = _graph(data, codec=codec)
    for rows in (data.row_ids[5:6], data.row_ids[1:]):
        _, found = index.search(
            data.vectors[:9], 4, allowed=RowSet.of(rows), originals=Originals([data])
        )
        assert np.isin(found[found >= 0], rows).all()
        assert (found >= 0).sum(axis=1).tolist() == [min(4, len(rows))] * 9


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_deleted_and_newer_items_are_known_to_a_store_with_a_float16_graph(tmp_path, dtype):
    vectors = unit(3000)
    ids = [str(number) for number in range(3000)]
    with vecstore.open(tmp_path / "shop") as store:
        docs = store.create_collection("docs")
        docs.create_space("v", dim=DIM, metric="cosine", dtype=dtype)
        for start in range(0, 2900, 290):
            part = slice(start, start + 290)
            docs.upsert(ids=ids[part], vectors=vectors[part], space="v")
        docs.build_index(space="v", kind="hnsw", parameters={"ef_search": 400})
        docs.upsert(ids=ids[2900:], vectors=vectors[2900:], space="v")
        docs.delete(ids=ids[:2900:3])
        live = np.setdiff1d(np.arange(3000), np.arange(0, 2900, 3))
        queries = unit(20, seed=5)
        truth = queries @ vectors[live].T
        best = np.argsort(-truth, axis=1)[:, :10]
        wanted = np.take_along_axis(truth, best, axis=1)
        for start, end in ((0, 1), (0, 20)):
            hits = docs.search(queries[start:end], space="v", k=10)
            assert set(np.ravel(hits.ids)) <= {ids[number] for number in live}
            np.testing.assert_allclose(
                hits.scores, wanted[start:end], atol=1e-5 if dtype == "float32" else 1e-3
            )


def _graph(data, *, metric="ip", **parameters):
    return HnswIndex.build([data], dim=DIM, metric=metric, parameters={"m": 16, **parameters})
