"""FAISS on GPUs: asked only where they are, only what they can, and exactly as good as the CPU."""

from __future__ import annotations

import os
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from tests.vecstore.gpu_stage import GPU_SIDE, Stage, put_on
from vecstore.errors import InvalidArgumentError
from vecstore.gpu.device import DeviceWarning
from vecstore.indexes import faiss_gpu
from vecstore.indexes.blocks import Block
from vecstore.indexes.exact import exact_search
from vecstore.indexes.faiss_gpu import Gpu, GpuCopies, faiss_gpu_count, find_gpu, lengthened
from vecstore.indexes.faiss_library import load_faiss
from vecstore.indexes.originals import Originals
from vecstore.indexes.registry import get_index, index_kinds
from vecstore.rows import RowSet
from vecstore.testing.indexes import INDEX_CHECKS


class Preset:
    """An index kind whose builds have other defaults, as far as the contract is concerned."""

    def __init__(self, kind, **parameters):
        self._kind, self._parameters = get_index(kind), parameters

    def __getattr__(self, name):
        return getattr(self._kind, name)

    def build(self, blocks, *, parameters=None, **options):
        chosen = {**self._parameters, **(parameters or {})}
        return self._kind.build(blocks, parameters=chosen, **options)


# Codes of 8 bits, the only ones that FAISS searches on a GPU.
KINDS = {
    "flat": Preset("flat"),
    "ivf_flat": Preset("ivf_flat"),
    "ivf_pq": Preset("ivf_pq", nbits=8, m=4),
}


@pytest.fixture
def stage(monkeypatch):
    return put_on(monkeypatch, Stage())


@pytest.fixture
def warned():
    """The warnings that were given."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def rows(n, dim=16, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def block(n=2000, dim=16):
    return Block(row_ids=np.arange(n) * 3 + 500, vectors=rows(n, dim))


def built(kind, data, **parameters):
    made = KINDS[kind]
    return made.build([data], dim=data.vectors.shape[1], metric="ip", parameters=parameters)


# The contract


@pytest.mark.parametrize("check", INDEX_CHECKS, ids=lambda check: check.__name__)
def test_codes_of_eight_bits_keep_the_contract(check):
    # Where this run has a GPU, there: the defaults of the other kinds are checked with all others.
    check(KINDS["ivf_pq"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("check", INDEX_CHECKS, ids=lambda check: check.__name__)
def test_the_contract_is_kept_beside_a_gpu(stage, check, kind):
    check(KINDS[kind])
    if check.__name__ in ("check_recall", "check_masks_are_honoured", "check_round_trip"):
        assert stage.searches, "the GPU was not asked"


def test_searches_run_where_this_run_has_gpus():
    data = block()
    for kind in KINDS:
        index = built(kind, data)
        index.search(data.vectors[:3], 5)
        assert bool(index._body._copies._made) == (find_gpu("auto") is not None)


# The probe


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_gpu_nothing_but_the_probe_is_called(monkeypatch, kind):
    stage = put_on(monkeypatch, Stage(0))
    data = block()
    index = built(kind, data)
    for device in ("auto", "cpu", "auto"):
        index.search(data.vectors[:3], 5, parameters={"device": device})
    assert stage.calls == ["get_num_gpus"], "once, and nothing else"


def test_a_build_without_the_probe_or_a_machine_without_a_driver_has_no_gpu(monkeypatch):
    put_on(monkeypatch, SimpleNamespace())
    assert faiss_gpu_count() == 0
    put_on(monkeypatch, None)  # FAISS is not installed
    assert faiss_gpu_count() == 0
    stage = put_on(monkeypatch, Stage())
    monkeypatch.setattr(faiss_gpu, "driver_found", lambda: False)
    assert faiss_gpu_count() == 0
    assert not stage.calls, "some builds end the process where they are asked"


def test_the_probe_comes_before_every_other_call(stage):
    data = block()
    built("flat", data).search(data.vectors[:3], 5)
    assert stage.calls[0] == "get_num_gpus"
    assert set(GPU_SIDE) <= set(stage.calls)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is nothing to fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_leaves_the_gpus_of_its_parent_alone(stage):
    assert faiss_gpu_count() == 2
    child = os.fork()
    if not child:
        os._exit(faiss_gpu_count())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert faiss_gpu_count() == 2


# Devices


def test_a_device_is_chosen_as_elsewhere(stage, monkeypatch):
    assert find_gpu("auto") == Gpu(number=0, named=False)
    assert find_gpu("cuda") == Gpu(number=0, named=True)
    assert find_gpu("cuda:1") == Gpu(number=1, named=True)
    assert find_gpu("cpu") is None
    monkeypatch.setenv("VECSTORE_DEVICE", "cuda:1")
    assert find_gpu("auto") == Gpu(number=1, named=False)
    monkeypatch.setenv("VECSTORE_DEVICE", "cpu")
    assert find_gpu("auto") is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1])
def test_a_gpu_that_is_not_there_is_replaced_with_one_warning(monkeypatch, warned, kind, count):
    put_on(monkeypatch, Stage(count))
    data = block()
    index = built(kind, data, device="cuda:7")
    found = [index.search(data.vectors[:9], 5)[1] for _ in range(3)]
    here = index.search(data.vectors[:9], 5, parameters={"device": "cpu"})[1]
    assert all(np.array_equal(ids, here) for ids in found)
    assert [warning.category for warning in warned] == [DeviceWarning]
    assert f"FAISS sees {count} GPUs; working on the CPU" in str(warned[0].message)


@pytest.mark.parametrize("kind", [*KINDS, "gpu_flat"])
def test_what_is_no_device_is_refused(kind):
    made, data = get_index(kind), block(50)
    with pytest.raises(InvalidArgumentError, match="device"):
        made.build([data], dim=16, metric="ip", parameters={"device": "gpu"})
    index = made.build([data], dim=16, metric="ip")
    with pytest.raises(InvalidArgumentError, match="device"):
        index.search(data.vectors[:1], 3, parameters={"device": "cuda:x"})
    with pytest.raises(InvalidArgumentError, match="device"):
        index.tuned({"device": ""})


def test_only_kinds_that_search_on_a_device_take_one():
    takes = {
        kind for kind in index_kinds() for spec in get_index(kind).specs if spec.name == "device"
    }
    assert takes == {*KINDS, "gpu_flat", "hnsw"}  # hnsw to build on


def test_each_device_has_one_copy_and_the_file_is_the_same(stage):
    data = block()
    index = built("ivf_flat", data)
    before = index.to_bytes()
    for device in ("auto", "cuda:1", "cuda:0", "cuda:1"):
        index.tuned({"device": device}).search(data.vectors[:4], 5)
    assert [copy.number for copy in stage.copies] == [0, 1]
    assert index.to_bytes() == before


# What is left to the CPU


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_that_leaves_little_is_searched_on_the_cpu(stage, kind):
    data = block()
    index = built(kind, data)
    allowed = RowSet.of(data.row_ids[::3])
    _, found = index.search(data.vectors[:20], 5, allowed=allowed)
    assert allowed.contains(found).all()
    assert not stage.searches


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_mask_takes_out_is_taken_out_of_a_longer_answer(stage, kind):
    data = block(4000)
    index = built(kind, data)
    allowed = RowSet.of(np.delete(data.row_ids, np.arange(0, 4000, 5)))
    options = {"allowed": allowed, "originals": Originals([data])}
    scores, found = index.search(data.vectors[:6], 5, **options)
    here = index.search(data.vectors[:6], 5, parameters={"device": "cpu"}, **options)
    assert stage.searches
    assert allowed.contains(found).all()
    np.testing.assert_array_equal(found, here[1])
    np.testing.assert_allclose(scores, here[0], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_where_a_mask_takes_out_the_nearest_the_cpu_completes(stage, kind):
    # More of the nearest rows are out than a GPU can be asked for.
    data = block(6000)
    index = built(kind, data, nprobe=2000) if kind != "flat" else built(kind, data)
    query = data.vectors[:1]
    nearest = np.argsort(-(query @ data.vectors.T)[0])
    left = data.row_ids[nearest[2500:]]
    batch = np.concatenate([query, -query])  # the second is far from all of that
    options = {"allowed": RowSet.of(left), "originals": Originals([data])}
    _, found = index.search(batch, 5, **options)
    assert stage.searches
    assert found[0].tolist() == left[:5].tolist() or kind == "ivf_pq"
    assert (found >= 0).all()
    here = index.search(batch, 5, parameters={"device": "cpu"}, **options)[1]
    assert np.isin(found, here).mean() >= 0.8


def test_more_than_a_gpu_selects_is_selected_on_the_cpu(stage):
    faiss = load_faiss()
    data = block(5000)
    for kind in KINDS:
        index = built(kind, data)
        _, found = index.search(data.vectors[:2], 2100)
        assert (found >= 0).all()
    assert not stage.searches
    index = built("ivf_flat", data)
    copies = GpuCopies(index._body.core)
    gpu = Gpu(number=0, named=True)
    for k, nprobe, answered in ((2048, 2048, True), (2049, 8, False), (8, 2049, False)):
        wanted = faiss.SearchParametersIVF(nprobe=nprobe)
        found = copies.search(gpu, data.vectors[:2], k, wanted)
        assert (found is not None) == answered


def test_codes_without_a_gpu_kernel_say_so_only_where_a_gpu_was_named(stage, warned):
    data = block()
    index = get_index("ivf_pq").build([data], dim=16, metric="ip")
    index.search(data.vectors[:3], 5)
    assert not warned
    for _ in range(3):
        index.search(data.vectors[:3], 5, parameters={"device": "cuda:0"})
    assert not stage.copies
    assert [warning.category for warning in warned] == [DeviceWarning]
    assert "nbits=8" in str(warned[0].message)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_that_does_not_fit_is_given_up_with_one_warning(monkeypatch, warned, kind):
    stage = put_on(monkeypatch, Stage(full=True))
    data = block()
    index = built(kind, data)
    found = [index.search(data.vectors[:9], 5)[1] for _ in range(3)]
    assert np.array_equal(
        found[0], index.search(data.vectors[:9], 5, parameters={"device": "cpu"})[1]
    )
    assert stage.calls.count("index_cpu_to_gpu") == 1
    assert [warning.category for warning in warned] == [DeviceWarning]
    assert "out of memory" in str(warned[0].message)


# Exact


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("near", [1.0, 1e-4])
def test_flat_is_exact_whatever_the_order_of_a_gpu_s_sums(monkeypatch, metric, near):
    # Rows this near to each other change places by rounding, more of them than are held in hand.
    rng = np.random.default_rng(3)
    vectors = (rng.standard_normal(32) + near * rng.standard_normal((3000, 32))).astype(np.float32)
    data = Block(row_ids=np.arange(3000) + 7, vectors=vectors)
    queries = rng.standard_normal((12, 32)).astype(np.float32)
    index = get_index("flat").build([data], dim=32, metric=metric)
    sizes = np.linalg.norm(queries, axis=1).max(), np.linalg.norm(vectors, axis=1).max()
    rounding = 32 * 2.0**-23 * (sizes[0] * sizes[1] if metric == "ip" else sum(sizes) ** 2)
    stage = put_on(monkeypatch, Stage(noise=rounding))
    scores, found = index.search(queries, 10)
    wanted, ids = exact_search(queries, [data], 10, metric=metric)
    assert stage.searches[0] == 64
    assert len(stage.searches) == (1 if near == 1.0 else 2), "asked for more where it was not sure"
    # Scores near zero are sums of products ten times their size: processors differ by that.
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=max(1e-4 * near, 4e-6))
    if near == 1.0:
        np.testing.assert_array_equal(found, ids)


def test_equal_rows_come_by_ascending_id_though_a_gpu_takes_any(stage):
    data = Block(row_ids=np.arange(5000)[::-1].copy(), vectors=np.ones((5000, 8), np.float32))
    index = get_index("flat").build([data], dim=8, metric="ip")
    _, found = index.search(np.ones((2, 8), np.float32), 6)
    assert stage.searches == [60, 2048], "it cannot tell, so the CPU scans"
    np.testing.assert_array_equal(found, np.broadcast_to(np.arange(6), (2, 6)))


@pytest.mark.parametrize("k", [1, 10, 2048])
def test_candidates_are_as_many_as_a_mask_may_take_out_and_no_more_than_there_are(k):
    for total, eligible in ((3000, 3000), (3000, 2900), (3000, 1500), (2100, 2048)):
        width = lengthened(k, eligible=eligible, total=total)
        assert k <= width <= total
        assert width == k if eligible == total else width >= min(k * total / eligible, 2048)


# Graphs linked on a GPU


@pytest.mark.parametrize("check", INDEX_CHECKS, ids=lambda check: check.__name__)
def test_a_graph_linked_on_a_gpu_keeps_the_contract(monkeypatch, check):
    stage = put_on(monkeypatch, Stage(cuvs=True))
    check(Preset("hnsw", device="cuda", m=16))
    if check.__name__ in ("check_recall", "check_masks_are_honoured", "check_round_trip"):
        assert "GpuIndexCagraConfig" in stage.calls, "the GPU was not asked"


def test_where_this_run_has_cagra_its_graphs_find_the_nearest():
    data = block(5000)
    linked = get_index("hnsw").build([data], dim=16, metric="ip", parameters={"device": "auto"})
    queries = rows(50, seed=9)
    _, wanted = exact_search(queries, [data], 10, metric="ip")
    for index in (linked, get_index("hnsw").from_bytes(linked.to_bytes())):
        found = index.search(queries, 10)[1]
        shares = [len(set(a) & set(b)) / 10 for a, b in zip(found, wanted, strict=True)]
        assert np.mean(shares) >= 0.95
        assert type(index._body.graph.core) is load_faiss().IndexHNSWSQ


def test_masked_blocks_are_linked_by_the_rows_they_keep(monkeypatch):
    put_on(monkeypatch, Stage(cuvs=True))
    keep = np.random.default_rng(5).random(3000) < 0.5
    half = Block(row_ids=np.arange(3000) + 40, vectors=rows(3000).astype(np.float16), keep=keep)
    index = get_index("hnsw").build([half], dim=16, metric="ip", parameters={"device": "auto"})
    assert np.array_equal(index.row_ids, half.row_ids[keep])
    _, found = index.search(half.vectors[keep][:30].astype(np.float32), 1)
    assert found[:, 0].tolist() == half.row_ids[keep][:30].tolist()


@pytest.mark.parametrize("full", [False, True])
def test_a_graph_that_no_gpu_can_link_is_linked_by_the_cpu_with_one_warning(
    monkeypatch, warned, full
):
    put_on(monkeypatch, Stage(cuvs=full, full=full))
    data, build = block(), get_index("hnsw").build
    settings = {"build_threads": 1, "device": "cuda:1"}
    made = [build([data], dim=16, metric="ip", parameters=settings) for _ in range(2)]
    assert [warning.category for warning in warned] == [DeviceWarning]
    assert ("out of memory" if full else "faiss-gpu-cuvs") in str(warned[0].message)
    here = build([data], dim=16, metric="ip", parameters={**settings, "device": "cpu"})
    for index in made:
        assert np.array_equal(index.search(rows(9), 5)[1], here.search(rows(9), 5)[1])


def test_graphs_are_linked_on_the_cpu_unless_a_device_is_named(monkeypatch):
    stage = put_on(monkeypatch, Stage(cuvs=True))
    get_index("hnsw").build([block()], dim=16, metric="ip")
    assert set(stage.calls) <= {"get_num_gpus"}


def test_linking_on_a_gpu_can_be_cancelled_while_rows_are_gathered(monkeypatch):
    stage = put_on(monkeypatch, Stage(cuvs=True))

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_index("hnsw").build(
            [block()], dim=16, metric="ip", parameters={"device": "cuda"}, progress=cancel
        )
    assert "GpuIndexCagraConfig" not in stage.calls
