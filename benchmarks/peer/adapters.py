"""One small class for each store or library: the same verbs, its own best way to do each.

Vectors have unit norm, so that inner product and cosine rank alike. Every graph has 16 links per
row and is built looking at 100 rows. A class is imported in the environment of its own library.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

LINKS, BUILD, K = 16, 100, 10
EFFORTS = (
    *(10, 12, 14, 16, 18, 20, 24, 28, 32, 38, 44, 52, 62, 74, 88, 104, 124, 148, 176, 208, 248),
    *(296, 352, 420, 500, 600, 720, 860, 1024),
)


class Peer(ABC):
    """What is measured of each. Answers are the numbers of rows, shape (nq, 10)."""

    durable: ClassVar[bool] = True
    filters: ClassVar[bool] = True
    note: ClassVar[str] = ""

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder, self.dim = folder, dim

    @abstractmethod
    def ingest(self, start: int, vectors: Any, buckets: Any) -> None:
        """Take rows; they are in its files when this returns, where the peer is ``durable``."""

    @abstractmethod
    def build(self, tuning: Any) -> None:
        """Make what was taken searchable fast; the first query has been answered then."""

    def effort(self, number: int) -> bool:
        """Search with this much effort from now on; False if there is nothing to set."""
        return False

    @abstractmethod
    def search(self, queries: Any, below: int | None = None) -> Any:
        """Search a batch; with ``below``, only rows whose bucket is less."""

    def single(self, query: Any, below: int | None = None) -> Any:
        """Search one query."""
        return self.search(query[None], below)

    def exact(self, query: Any) -> Any:
        """Search one query without an index; None where that is not offered."""
        return None


class Vecstore(Peer):
    """vecstore: tuned to the recall by itself."""

    def __init__(self, folder: Path, dim: int) -> None:
        super().__init__(folder, dim)
        import vecstore

        self.store = vecstore.open(folder / "store")
        self.docs = self.store.create_collection("docs")
        self.docs.create_space("v", dim=dim)
        self.exactly: Any = None

    def ingest(self, start: int, vectors: Any, buckets: Any) -> None:
        ids = [str(n) for n in range(start, start + len(vectors))]
        self.docs.upsert(ids=ids, vectors=vectors, metadata={"bucket": buckets})

    def build(self, tuning: Any) -> None:
        # Versions keep searching without the index that was built after them.
        self.exact_for = self.docs.latest()
        self.exact_for.search(tuning[0])
        self.docs.build_index(
            space="v",
            kind="hnsw",
            parameters={"m": LINKS, "ef_construction": BUILD},
            recall=0.95,
            queries=tuning,
        )
        self.docs.search(tuning[0])

    def search(self, queries: Any, below: int | None = None) -> Any:
        where = None if below is None else f"bucket < {below}"
        ids = self.docs.search(queries, k=K, where=where).ids
        return np.where(ids == None, -1, ids).astype(np.int64)  # noqa: E711 - element by element

    def single(self, query: Any, below: int | None = None) -> Any:
        where = None if below is None else f"bucket < {below}"
        return self.docs.search(query, k=K, where=where).ids

    def exact(self, query: Any) -> Any:
        return self.exact_for.search(query, k=K).ids


class Faiss(Peer):
    """The library alone: no ids, no durability, one thread for one query."""

    durable = False

    def __init__(self, folder: Path, dim: int) -> None:
        super().__init__(folder, dim)
        import faiss

        self.faiss, self.threads = faiss, faiss.omp_get_max_threads()
        self.index = faiss.IndexHNSWFlat(dim, LINKS, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = BUILD
        self.flat = faiss.IndexFlatIP(dim)
        self.buckets: list[Any] = []
        self.selectors: dict[int | None, Any] = {None: None}

    def ingest(self, start: int, vectors: Any, buckets: Any) -> None:
        self.index.add(vectors)
        self.flat.add(vectors)
        self.buckets.append(buckets)

    def build(self, tuning: Any) -> None:
        self.faiss.write_index(self.index, str(self.folder / "index.faiss"))

    def effort(self, number: int) -> bool:
        self.number = number
        return True

    def search(self, queries: Any, below: int | None = None) -> Any:
        if below not in self.selectors:
            members = np.packbits(np.concatenate(self.buckets) < below, bitorder="little")
            self.selectors[below] = self.faiss.IDSelectorBitmap(members)
        parameters = self.faiss.SearchParametersHNSW(
            efSearch=self.number, sel=self.selectors[below]
        )
        return self.index.search(queries, K, params=parameters)[1]

    def single(self, query: Any, below: int | None = None) -> Any:
        self.faiss.omp_set_num_threads(1)
        try:
            return self.search(query[None], below)
        finally:
            self.faiss.omp_set_num_threads(self.threads)

    def exact(self, query: Any) -> Any:
        return self.flat.search(query[None], K)[1]


class Hnswlib(Peer):
    """The library alone."""

    durable = False
    filters = False
    note = "its filter is a Python function called for every row it meets: not measured"

    def __init__(self, folder: Path, dim: int) -> None:
        super().__init__(folder, dim)
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=dim)
        self.index.init_index(max_elements=1, ef_construction=BUILD, M=LINKS)

    def ingest(self, start: int, vectors: Any, buckets: Any) -> None:
        self.index.resize_index(start + len(vectors))
        self.index.add_items(vectors, np.arange(start, start + len(vectors)))

    def build(self, tuning: Any) -> None:
        self.index.save_index(str(self.folder / "index.bin"))

    def effort(self, number: int) -> bool:
        self.index.set_ef(number)
        return True

    def search(self, queries: Any, below: int | None = None) -> Any:
        return self.index.knn_query(queries, K)[0].astype(np.int64)

    def single(self, query: Any, below: int | None = None) -> Any:
        return self.index.knn_query(query[None], K, num_threads=1)[0]


class Usearch(Peer):
    """The library alone."""

    durable = False
    filters = False
    note = "no filtered search in its Python package"

    def __init__(self, folder: Path, dim: int) -> None:
        super().__init__(folder, dim)
        from usearch.index import Index

        self.index = Index(ndim=dim, metric="ip", connectivity=LINKS, expansion_add=BUILD)

    def ingest(self, start: int, vectors: Any, buckets: Any) -> None:
        self.index.add(np.arange(start, start + len(vectors)), vectors)

    def build(self, tuning: Any) -> None:
        self.index.save(str(self.folder / "index.usearch"))

    def effort(self, number: int) -> bool:
        self.index.expansion_search = number
        return True

    def search(self, queries: Any, below: int | None = None) -> Any:
        return self.index.search(queries, K).keys.astype(np.int64)

    def single(self, query: Any, below: int | None = None) -> Any:
        return self.index.search(query, K, threads=1).keys

    def exact(self, query: Any) -> Any:
        return self.index.search(query, K, exact=True).keys


class LanceDB(Peer):
    """One graph over scalar-quantised rows, refined by the vectors of four times as many."""

    def __init__(self, folder: Path, dim: int) -> None:
        super().__init__(folder, dim)
        import lancedb
        import pyarrow as pa

        self.pa = pa
        schema = pa.schema(
            [("id", pa.string()), ("bucket", pa.int64()), ("vector", pa.list_(pa.float32(), dim))]
        )
        self.table = lancedb.connect(str(folder / "lance")).create_table("docs", schema=schema)

    def ingest(self, start: int, vectors: Any, buckets: Any) -> None:
        pa = self.pa
        values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), self.dim)
        ids = pa.array([str(n) for n in range(start, start + len(vectors))])
        self.table.add(
            pa.table({"id": ids, "bucket": pa.array(buckets, pa.int64()), "vector": values})
        )

    def build(self, tuning: Any) -> None:
        self.table.create_index(
            metric="cosine",
            num_partitions=1,
            index_type="IVF_HNSW_SQ",
            m=LINKS,
            ef_construction=BUILD,
        )

    def effort(self, number: int) -> bool:
        self.number = max(number, 4 * K)  # it refuses less
        return True

    def _asked(self, queries: Any, below: int | None) -> Any:
        found = self.table.search(queries).distance_type("cosine").limit(K).nprobes(1)
        found = found.ef(self.number).refine_factor(4).select(["id"])
        return found if below is None else found.where(f"bucket < {below}", prefilter=True)

    def search(self, queries: Any, below: int | None = None) -> Any:
        if len(queries) == 1:
            return self.single(queries[0], below)[None]
        table = self._asked(list(queries), below).to_arrow()
        answers = np.full((len(queries), K), -1, dtype=np.int64)
        places: dict[int, int] = {}
        pairs = zip(
            table.column("query_index").to_pylist(), table.column("id").to_pylist(), strict=True
        )
        for query, item in pairs:
            place = places.get(query, 0)
            answers[query, place], places[query] = int(item), place + 1
        return answers

    def single(self, query: Any, below: int | None = None) -> Any:
        ids = self._asked(query, below).to_arrow().column("id").to_pylist()
        return np.array([int(item) for item in ids] + [-1] * (K - len(ids)))

    def exact(self, query: Any) -> Any:
        found = self.table.search(query).distance_type("cosine").limit(K).select(["id"])
        return found.bypass_vector_index().to_arrow().column("id").to_pylist()


class Chroma(Peer):
    """PersistentClient."""

    def __init__(self, folder: Path, dim: int) -> None:
        super().__init__(folder, dim)
        import chromadb
        from chromadb.config import Settings

        self.quiet = Settings(anonymized_telemetry=False)
        self.client = chromadb.PersistentClient(str(folder / "chroma"), settings=self.quiet)
        hnsw = {"space": "ip", "max_neighbors": LINKS, "ef_construction": BUILD, "ef_search": 16}
        self.docs = self.client.create_collection(
            "docs", configuration={"hnsw": hnsw}, embedding_function=None
        )

    def ingest(self, start: int, vectors: Any, buckets: Any) -> None:
        most = self.client.get_max_batch_size()
        for first in range(0, len(vectors), most):
            part = slice(first, first + most)
            n = len(vectors[part])
            self.docs.add(
                ids=[str(start + first + i) for i in range(n)],
                embeddings=vectors[part],
                metadatas=[{"bucket": int(b)} for b in buckets[part]],
            )

    def build(self, tuning: Any) -> None:
        self.single(tuning[0])

    def effort(self, number: int) -> bool:
        import chromadb
        from chromadb.api.shared_system_client import SharedSystemClient

        # An open collection keeps the effort it was opened with.
        self.docs.modify(configuration={"hnsw": {"ef_search": number}})
        SharedSystemClient.clear_system_cache()
        self.client = chromadb.PersistentClient(str(self.folder / "chroma"), settings=self.quiet)
        self.docs = self.client.get_collection("docs", embedding_function=None)
        self.single(np.ones(self.dim, np.float32))  # opens it, outside the timing
        return True

    def search(self, queries: Any, below: int | None = None) -> Any:
        where = None if below is None else {"bucket": {"$lt": below}}
        found = self.docs.query(query_embeddings=queries, n_results=K, where=where, include=[])
        return np.array([[int(i) for i in ids] + [-1] * (K - len(ids)) for ids in found["ids"]])


class QdrantLocal(Peer):
    """The local mode: numpy over everything, meant for tests by its makers."""

    note = "local mode searches exactly, by numpy"

    def __init__(self, folder: Path, dim: int) -> None:
        super().__init__(folder, dim)
        import warnings

        from qdrant_client import QdrantClient, models

        warnings.simplefilter("ignore")
        self.models = models
        self.client = QdrantClient(path=str(folder / "qdrant"))
        self.client.create_collection(
            "docs",
            vectors_config=models.VectorParams(size=dim, distance=models.Distance.DOT),
        )

    def ingest(self, start: int, vectors: Any, buckets: Any) -> None:
        self.client.upsert(
            "docs",
            points=self.models.Batch(
                ids=list(range(start, start + len(vectors))),
                vectors=vectors.tolist(),
                payloads=[{"bucket": int(b)} for b in buckets],
            ),
        )

    def build(self, tuning: Any) -> None:
        self.single(tuning[0])

    def search(self, queries: Any, below: int | None = None) -> Any:
        return np.array([self.single(query, below) for query in queries])

    def single(self, query: Any, below: int | None = None) -> Any:
        models = self.models
        condition = None
        if below is not None:
            part = models.FieldCondition(key="bucket", range=models.Range(lt=below))
            condition = models.Filter(must=[part])
        found = self.client.query_points(
            "docs", query=query, limit=K, query_filter=condition, with_payload=False
        ).points
        return [point.id for point in found] + [-1] * (K - len(found))


class MilvusLite(Peer):
    """HNSW if this version has it, else what it has."""

    def __init__(self, folder: Path, dim: int) -> None:
        super().__init__(folder, dim)
        from pymilvus import MilvusClient

        self.client = MilvusClient(str(folder / "milvus.db"))
        schema = self.client.create_schema(auto_id=False)
        from pymilvus import DataType

        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("bucket", DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        self.client.create_collection("docs", schema=schema)
        self.number = EFFORTS[0]

    def ingest(self, start: int, vectors: Any, buckets: Any) -> None:
        rows = [
            {"id": start + n, "bucket": int(b), "vector": v}
            for n, (v, b) in enumerate(zip(vectors, buckets, strict=True))
        ]
        self.client.insert("docs", rows)

    def build(self, tuning: Any) -> None:
        self.client.flush("docs")
        index = self.client.prepare_index_params()
        how = {"M": LINKS, "efConstruction": BUILD}
        index.add_index("vector", index_type="HNSW", metric_type="IP", params=how)
        self.client.create_index("docs", index)
        self.client.load_collection("docs")
        self.single(tuning[0])

    def effort(self, number: int) -> bool:
        self.number = number
        return True

    def search(self, queries: Any, below: int | None = None) -> Any:
        found = self.client.search(
            "docs",
            data=list(queries),
            limit=K,
            filter="" if below is None else f"bucket < {below}",
            search_params={"metric_type": "IP", "params": {"ef": self.number}},
        )
        ids = [[hit["id"] for hit in hits] for hits in found]
        return np.array([each + [-1] * (K - len(each)) for each in ids])


PEERS: dict[str, type[Peer]] = {
    "vecstore": Vecstore,
    "faiss": Faiss,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "lancedb": LanceDB,
    "chroma": Chroma,
    "qdrant-local": QdrantLocal,
    "milvus-lite": MilvusLite,
}


def peak_bytes() -> int:
    """Return the most memory that this program has had resident.

    Not ``getrusage``'s, which begins with what the parent process had when it forked.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def disk_bytes(folder: Path) -> int:
    """Return what a folder takes on disk."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
