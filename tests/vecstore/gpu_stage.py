"""FAISS with GPUs that are not there, so that what is asked of one can be tested beside none.

Everything but the few names of FAISS's GPU side is FAISS itself. A "copy on a GPU" is a copy of the
real index on the CPU, which refuses, or breaks on, what the real one refuses or breaks on.
"""

from __future__ import annotations

import threading
from functools import partial
from types import SimpleNamespace

import numpy as np

from vecstore.gpu.device import warn_once
from vecstore.indexes import cagra, faiss_gpu
from vecstore.indexes.faiss_library import load_faiss

GPU_SIDE = ("StandardGpuResources", "GpuClonerOptions", "index_cpu_to_gpu")
CUVS_SIDE = ("GpuIndexCagra", "GpuIndexCagraConfig")


class Stage:
    """The faiss module as it is beside ``count`` GPUs.

    ``noise`` is what the values of a copy are off by at most, as sums in another order are;
    ``full`` says that no copy fits its memory, ``cuvs`` that this build has CAGRA.
    """

    def __init__(self, count=2, *, noise=0.0, full=False, cuvs=False):
        self.count, self.noise, self.full, self.cuvs = count, noise, full, cuvs
        self.calls: list[str] = []
        self.copies: list[Copy] = []

    def __getattr__(self, name):
        if name in CUVS_SIDE and self.cuvs:
            self._used(name)
            return partial(Cagra, self) if name == "GpuIndexCagra" else SimpleNamespace
        return getattr(load_faiss(), name)

    def get_num_gpus(self):
        self.calls.append("get_num_gpus")
        return self.count

    def StandardGpuResources(self):
        self._used("StandardGpuResources")
        return SimpleNamespace(setTempMemory=lambda size: None, setPinnedMemory=lambda size: None)

    def GpuClonerOptions(self):
        self._used("GpuClonerOptions")
        return SimpleNamespace(useFloat16=False, use_cuvs=True)

    def index_cpu_to_gpu(self, resources, number, index, options):
        self._used("index_cpu_to_gpu")
        faiss = load_faiss()
        supported = faiss.IndexFlat | faiss.IndexIVFFlat | faiss.IndexIVFPQ
        if self.full or number >= self.count or not isinstance(index, supported):
            raise RuntimeError("Error in allocMemory at x.cpp:1: Error: 'ok' failed: out of memory")
        assert not options.use_cuvs
        assert not options.useFloat16 or isinstance(index, faiss.IndexIVFPQ), "vectors were halved"
        self.copies.append(Copy(faiss.clone_index(index), number, self.noise))
        return self.copies[-1]

    @property
    def searches(self):
        """Widths asked of all copies, in order."""
        return [width for copy in self.copies for width in copy.widths]

    def _used(self, name):
        assert self.calls, f"{name} was called before get_num_gpus"
        self.calls.append(name)


class Copy:
    """What index_cpu_to_gpu returns."""

    def __init__(self, index, number, noise):
        self.index, self.number, self.noise = index, number, noise
        self.widths: list[int] = []
        self._one_at_a_time = threading.Lock()

    def search(self, queries, k, *, params=None):
        assert self._one_at_a_time.acquire(blocking=False), "two threads search one copy"
        try:
            assert k <= 2048, "more than a GPU selects"
            assert getattr(params, "nprobe", 1) <= 2048, "more than a GPU selects"
            assert getattr(params, "sel", None) is None, "a GPU ignores selectors"
            self.widths.append(k)
            values, labels = self.index.search(
                queries, min(self.index.ntotal, 3 * k if self.noise else k), params=params
            )
            if self.noise:
                off = np.random.default_rng(labels.size).uniform(-1, 1, values.shape)
                values = (values + self.noise * off).astype(np.float32)
                larger = self.index.metric_type == load_faiss().METRIC_INNER_PRODUCT
                order = np.argsort(-values if larger else values, axis=1)[:, :k]
                values = np.take_along_axis(values, order, axis=1)
                labels = np.take_along_axis(labels, order, axis=1)
            return values, labels
        finally:
            self._one_at_a_time.release()


class Cagra:
    """What GpuIndexCagra does, by links to the nearest and, that all are reached, to any."""

    def __init__(self, stage, resources, dim, metric, config):
        assert config.device < stage.count
        assert config.intermediate_graph_degree >= config.graph_degree
        self._stage, self._dim, self._metric = stage, dim, metric
        self._degree = config.graph_degree

    def train(self, rows):
        if self._stage.full:
            raise RuntimeError("Error in train at x.cu:1: Error: 'ok' failed: out of memory")
        assert rows.dtype == np.float32
        assert rows.flags.c_contiguous
        half = self._degree // 2
        _, near = load_faiss().knn(rows, rows, half + 1, metric=self._metric)
        any_ = np.random.default_rng(0).integers(len(rows), size=(len(rows), self._degree - half))
        self._rows = rows
        self._graph = np.concatenate([near[:, 1:], any_], axis=1).astype(np.int32)

    def copyTo(self, target):
        faiss = load_faiss()
        assert isinstance(target, faiss.IndexHNSWCagra)
        assert target.hnsw.nb_neighbors(0) == self._degree
        target.init_level0, target.keep_max_size_level0 = False, True  # upper levels only
        target.add(self._rows)
        links = faiss.vector_to_array(target.hnsw.neighbors)
        starts = faiss.vector_to_array(target.hnsw.offsets)[:-1].astype(np.int64)
        links[starts[:, None] + np.arange(self._degree)] = self._graph
        faiss.copy_array_to_vector(links, target.hnsw.neighbors)


def put_on(monkeypatch, stage):
    """Have the package see this FAISS, as a process does that has just begun."""
    monkeypatch.delenv("VECSTORE_DEVICE", raising=False)
    monkeypatch.setattr(faiss_gpu, "find_faiss", lambda: stage)
    monkeypatch.setattr(faiss_gpu, "load_faiss", lambda: stage)
    monkeypatch.setattr(cagra, "load_faiss", lambda: stage)
    monkeypatch.setattr(faiss_gpu, "driver_found", lambda: True)
    monkeypatch.setattr(faiss_gpu, "_count", None)
    warn_once.cache_clear()
    return stage
