"""Every registered index kind keeps the contract; and what is particular to one kind."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from vecstore.errors import (
    CorruptFileError,
    InvalidArgumentError,
    MissingDependencyError,
    UnsupportedOperationError,
)
from vecstore.indexes import faiss_library
from vecstore.indexes.blocks import Block
from vecstore.indexes.exact import exact_search
from vecstore.indexes.files import measure, read_header, seal
from vecstore.indexes.hnsw import HnswIndex, filtered_costs, widened_ef
from vecstore.indexes.originals import Originals
from vecstore.indexes.parameters import ParameterSpec
from vecstore.indexes.registry import get_index, index_kinds, read_index
from vecstore.rows import RowSet
from vecstore.testing import indexes as suite
from vecstore.testing.indexes import INDEX_CHECKS


@pytest.mark.parametrize("kind", index_kinds())
@pytest.mark.parametrize("check", INDEX_CHECKS, ids=lambda check: check.__name__)
def test_contract(check, kind):
    check(get_index(kind))


def test_every_check_is_in_the_suite():
    named = {value for name, value in vars(suite).items() if name.startswith("check_")}
    assert named == set(INDEX_CHECKS)


@pytest.mark.parametrize("kind", index_kinds())
def test_registry_name_is_the_class_own(kind):
    assert get_index(kind).kind == kind


def test_unknown_kind_is_refused_and_the_known_are_named():
    with pytest.raises(InvalidArgumentError, match="hnsw"):
        get_index("hsnw")


def test_read_index_finds_the_kind_in_the_file(tmp_path):
    rows = np.eye(4, dtype=np.float32)
    for kind in index_kinds():
        path = tmp_path / kind
        block = Block(row_ids=np.arange(4), vectors=rows)
        get_index(kind).build([block], dim=4, metric="ip").write(path)
        assert type(read_index(path)) is get_index(kind)
    header = read_header(path)
    payload = path.read_bytes()[: header.payload_bytes]
    path.write_bytes(payload + seal(type(header)(**{**_fields(header), "kind": "later"})))
    with pytest.raises(UnsupportedOperationError, match="later"):
        read_index(path)


def _fields(header):
    return {name: getattr(header, name) for name in type(header).__slots__}


def test_faiss_opens_our_file_itself(tmp_path):
    faiss = faiss_library.load_faiss()
    block = Block(row_ids=np.array([5, 9]), vectors=np.eye(2, dtype=np.float32))
    get_index("flat").build([block], dim=2, metric="ip").write(tmp_path / "index")
    _, ids = faiss.read_index(str(tmp_path / "index")).search(np.float32([[0, 1]]), 1)
    assert ids.tolist() == [[9]]


def test_without_faiss_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(faiss_library, "find_faiss", lambda: None)
    with pytest.raises(MissingDependencyError, match=r"vecstore\[cpu\]"):
        get_index("flat").build([], dim=4, metric="ip")


def test_registry_and_exact_search_import_without_faiss():
    code = (
        "import sys, vecstore.indexes.exact, vecstore.indexes.registry, vecstore.testing.indexes;"
        "from vecstore.indexes.registry import get_index, index_kinds;"
        "[get_index(kind) for kind in index_kinds()];"
        "sys.exit('faiss' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_hnsw_built_on_one_thread_is_reproducible():
    rng = np.random.default_rng(0)
    block = Block(
        row_ids=np.arange(3000), vectors=rng.standard_normal((3000, 16)).astype(np.float32)
    )
    files = [
        HnswIndex.build(
            [block], dim=16, metric="l2", parameters={"build_threads": 1, "m": 8}
        ).to_bytes()
        for _ in range(2)
    ]
    assert files[0] == files[1]


def test_hnsw_ef_search_is_a_default_that_a_search_overrides():
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((3000, 48)).astype(np.float32)
    block = Block(row_ids=np.arange(3000), vectors=vectors)
    index = HnswIndex.build([block], dim=48, metric="l2", parameters={"ef_search": 1, "m": 4})
    queries = rng.standard_normal((100, 48)).astype(np.float32)
    originals = Originals([block])
    low, _ = index.search(queries, 5, originals=originals)
    high, _ = index.search(queries, 5, parameters={"ef_search": 1000}, originals=originals)
    assert (high >= low - 1e-4).all()
    assert high.mean() > low.mean() + 0.1
    assert index.parameters["ef_search"] == 1


def _small_graph(**parameters):
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((4000, 16)).astype(np.float32)
    block = Block(row_ids=np.arange(4000) + 70_000, vectors=vectors)
    return block, HnswIndex.build([block], dim=16, metric="l2", parameters=parameters)


@pytest.mark.parametrize("codec", ["fp16", "fp32"])
@pytest.mark.parametrize("share", [0.02, 0.55, 0.8])
@pytest.mark.parametrize("n_queries", [5, 60])
def test_every_way_to_a_filtered_answer_of_hnsw_agrees_with_the_scan(share, n_queries, codec):
    block, index = _small_graph(filter_lists="always", codec=codec)
    rng = np.random.default_rng(5)
    allowed = RowSet.of(rng.choice(block.row_ids, int(share * 4000), replace=False))
    queries = rng.standard_normal((n_queries, 16)).astype(np.float32)
    keep = allowed.contains(block.row_ids)
    masked = Block(row_ids=block.row_ids, vectors=block.vectors, keep=keep)
    truth = exact_search(queries, [masked], 10, metric="l2")
    copy = HnswIndex.from_bytes(index.to_bytes())
    for way in ("scan", "lists", "graph", "auto"):
        asked = {"filtered": way, "filter_nprobe": 4096}
        options = {"allowed": allowed, "parameters": asked, "originals": Originals([block])}
        scores, row_ids = index.search(queries, 10, **options)
        assert allowed.contains(row_ids).all()
        assert (scores >= truth[0][:, [-1]] - 1e-4).mean() >= (1 if way == "scan" else 0.95)
        again = copy.search(queries, 10, **options)
        assert np.array_equal(again[1], row_ids)


@pytest.mark.parametrize("payload", [b"", b"short", (99).to_bytes(8, "little"), bytes(60)])
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_graph_whose_parts_do_not_add_up_is_refused(payload, on_disk, tmp_path):
    size, checksum = measure(payload)
    _, index = _small_graph()
    header = replace(read_header(index.to_bytes()), payload_bytes=size, checksum=checksum)
    wreck = payload + seal(header)
    (tmp_path / "index").write_bytes(wreck)
    with pytest.raises(CorruptFileError):
        HnswIndex.read(tmp_path / "index") if on_disk else HnswIndex.from_bytes(wreck)


def test_hnsw_lists_serve_filters_only_where_they_are_the_cheapest():
    tenth = {"eligible": 10_000, "total": 100_000, "nlist": 632, "nprobe": 50}
    chosen = {}
    for eligible in (50, 10_000, 90_000):
        ef = widened_ef(16, 10, eligible=eligible, total=100_000)
        costs = filtered_costs(10, ef, single=True, **{**tenth, "eligible": eligible})
        chosen[eligible] = min(costs, key=costs.get)
    assert chosen == {50: "scan", 10_000: "lists", 90_000: "graph"}
    assert "lists" not in filtered_costs(10, 64, single=True, **{**tenth, "nlist": 0})


def test_hnsw_over_files_out_of_order_ranks_by_the_right_vectors():
    vectors = np.random.default_rng(4).standard_normal((600, 16)).astype(np.float32)
    ids = np.concatenate([np.arange(300) + 900, np.arange(300)])
    blocks = [Block(row_ids=part, vectors=vectors[rows]) for part, rows in
              ((ids[:300], slice(300)), (ids[300:], slice(300, 600)))]  # fmt: skip
    index = HnswIndex.build(blocks, dim=16, metric="l2", parameters={"filter_lists": "always"})
    allowed = RowSet.of(ids[::2])
    scores, found = index.search(
        vectors[:300:2],
        1,
        allowed=allowed,
        parameters={"filtered": "lists"},
        originals=Originals(blocks),
    )
    assert np.array_equal(found[:, 0], ids[:300:2])
    np.testing.assert_allclose(scores, 0, atol=1e-4)


def test_hnsw_without_lists_scans_where_they_are_asked_for():
    block, index = _small_graph(filter_lists="never")
    allowed = RowSet.of(np.arange(70_000, 72_500))
    options = {"allowed": allowed, "originals": Originals([block])}
    found = [
        index.search(np.ones((2, 16)), 5, parameters={"filtered": way}, **options)[1]
        for way in ("lists", "scan")
    ]
    assert np.array_equal(*found)
    assert len(index.to_bytes()) < len(_small_graph(filter_lists="always")[1].to_bytes())


def test_widened_ef_keeps_the_number_of_eligible_rows_looked_at():
    assert widened_ef(64, 10, eligible=500, total=1000) == 128
    assert widened_ef(8, 100, eligible=1000, total=1000) == 100
    assert widened_ef(64, 10, eligible=1, total=1000) == 1000


def test_parameter_domains():
    share = ParameterSpec(
        name="share", default=0.5, when="build", minimum=0, maximum=1, summary="A share."
    )
    codec = ParameterSpec(
        name="codec", default="sq8", when="build", choices=("sq8", "fp16"), summary="A codec."
    )
    assert share.checked(1) == 1.0
    assert codec.checked("fp16") == "fp16"
    for spec, value in ((share, 1.5), (share, "0.5"), (share, float("nan")), (codec, "pq")):
        with pytest.raises(InvalidArgumentError, match=spec.name):
            spec.checked(value)
