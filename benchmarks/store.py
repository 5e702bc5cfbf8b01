"""The store against the bare libraries under it: search, cross-generation search, opening, growth.

Every figure is a ratio of two timings taken in turns in one run, because the machines are shared:
the median over repeats of (ours / bare). Prints a table, writes benchmarks/results/store-ROWS.json.

    python benchmarks/store.py --rows 200000 --dim 384
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import vecstore
from vecstore_translators import AffineTranslator, TranslatorFamily

RESULTS = Path(__file__).parent / "results"
BATCHES = 40
SINGLES = 40
"""Single queries of a repeat: other ones each time, because a repeated one is in the caches."""


def main() -> None:
    """Run all measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--skip-graph", action="store_true", help="its builds take minutes")
    parser.add_argument("--data", help="accepted like every benchmark's; this one makes its data")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vecstore-bench-"))
    try:
        found = measure(
            folder, arguments.rows, arguments.dim, arguments.repeats, arguments.skip_graph
        )
        report(found, arguments)
    finally:
        shutil.rmtree(folder)


def measure(
    folder: Path, rows: int, dim: int, repeats: int, skip_graph: bool
) -> list[dict[str, object]]:
    """Return one record for each budget."""
    documents, queries = clustered(rows, dim)
    found: list[dict[str, object]] = []

    def record(what: str, ours: Callable[[], object], bare: Callable[[], object], budget: str):
        ratio, ours_ms, bare_ms = compare(ours, bare, repeats)
        found.append(
            {"what": what, "ratio": ratio, "ours_ms": ours_ms, "bare_ms": bare_ms, "budget": budget}
        )
        print(f"{what}: {ratio:.2f}", file=sys.stderr)

    with vecstore.open(folder / "store") as store:
        docs = store.create_collection("docs")
        docs.create_space("v1", dim=dim)
        ids = [f"item-{number}" for number in range(rows)]
        first, last = fill(docs, ids, documents)
        found.append(
            {
                "what": f"upsert at {rows:,} rows over upsert into an empty collection, rows/s",
                "ratio": first / last,
                "ours_ms": last * 1000,
                "bare_ms": first * 1000,
                "budget": ">= 0.7",
            }
        )
        flat = faiss.IndexFlatIP(dim)
        flat.add(documents)
        batch = queries[:1000]
        docs.search(batch[0])
        record(
            "exact search over raw FAISS flat, 1,000 queries",
            lambda: docs.search(batch, space="v1").ids,
            lambda: flat.search(batch, 10),
            "<= 1.05",
        )
        record(
            "exact search over raw FAISS flat, 1 query",
            one_by_one(lambda query: docs.search(query, space="v1").ids, batch),
            one_by_one(lambda query: flat.search(query[None], 10), batch),
            "<= 1.25",
        )
        if not skip_graph:
            found.append(graph(docs, documents, batch, record))
        docs.create_space("v2", dim=dim, supersedes="v1")
        docs.add_vectors(ids=ids[:1000], vectors=documents[:1000] @ rotation(dim), space="v2")
        docs.fit_translator(source="v1", target="v2", family=Rotation())
        docs.search(batch, space="v2")
        record(
            "cross-generation search over native search, 1,000 queries, both exact",
            lambda: docs.search(batch, space="v2"),
            lambda: docs.search(batch, space="v1"),
            "<= 1.10",
        )
    np.save(folder / "raw.npy", documents)
    record(
        f"open {rows:,} rows to the first exact answer over a numpy memory map, new processes",
        lambda: first_answer(folder, "store"),
        lambda: first_answer(folder, "numpy"),
        "<= 2",
    )
    return found


def graph(
    docs: vecstore.Collection,
    documents: NDArray[np.float32],
    batch: NDArray[np.float32],
    record: Callable[..., None],
) -> dict[str, object]:
    """Compare HNSW with HNSW, and return the recall of ours.

    Ours keeps float16, so FAISS's graph over float16 is what it is held against; that over float32
    is beside it.
    """
    true = docs.search(batch, space="v1").ids
    docs.build_index(space="v1", kind="hnsw", parameters={"m": 32, "ef_search": 64})
    dim, metric = documents.shape[1], faiss.METRIC_INNER_PRODUCT
    halved = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, 32, metric)
    whole = faiss.IndexHNSWFlat(dim, 32, metric)
    for bare in (halved, whole):
        bare.hnsw.efConstruction, bare.hnsw.efSearch = 128, 64
        bare.add(documents)
    docs.search(batch[0])
    faiss_threads = faiss.omp_get_max_threads()

    def on_one_thread(bare: faiss.Index, query: NDArray[np.float32]) -> None:
        faiss.omp_set_num_threads(1)
        bare.search(query[None], 10)
        faiss.omp_set_num_threads(faiss_threads)

    for bare, name, budgets in (
        (halved, "float16", ("<= 1.05", "<= 1.25")),
        (whole, "float32", ("none", "none")),
    ):
        record(
            f"HNSW search over raw FAISS HNSW of {name}, 1,000 queries",
            lambda: docs.search(batch, space="v1").ids,
            lambda bare=bare: bare.search(batch, 10),
            budgets[0],
        )
        record(
            f"HNSW search over raw FAISS HNSW of {name}, 1 query",
            one_by_one(lambda query: docs.search(query, space="v1").ids, batch),
            one_by_one(partial(on_one_thread, bare), batch),
            budgets[1],
        )
    record(
        "the same over float16, every hit made an object",
        one_by_one(lambda query: list(docs.search(query, space="v1")), batch),
        one_by_one(partial(on_one_thread, halved), batch),
        "none",
    )
    approximate = docs.search(batch, space="v1").ids
    hits = sum(len(set(a) & set(b)) for a, b in zip(approximate, true, strict=True))
    docs.drop_index(docs.indexes[0].id)
    return {
        "what": "recall@10 of that HNSW index",
        "ratio": hits / true.size,
        "ours_ms": 0.0,
        "bare_ms": 0.0,
        "budget": ">= 0.95",
    }


def one_by_one(
    ask: Callable[[NDArray[np.float32]], object], queries: NDArray[np.float32]
) -> Callable[[], object]:
    """Return a function that asks the next few queries, each alone."""
    turn = itertools.count()

    def run() -> None:
        start = next(turn) * SINGLES % (len(queries) - SINGLES)
        for query in queries[start : start + SINGLES]:
            ask(query)

    return run


class Rotation(TranslatorFamily):
    """A fixed map, so that fitting takes no time: this benchmark measures searching."""

    name, cost = "rotation", 1.0

    def fit(self, X, Y, *, metric="cosine", seed=0):
        """Return a random rotation."""
        return AffineTranslator(weight=rotation(X.shape[1]), bias=np.zeros(X.shape[1], np.float32))


def rotation(dim: int) -> NDArray[np.float32]:
    """Return the random rotation that takes vectors of the old space to the new one."""
    found, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, dim)))
    return np.ascontiguousarray(found, dtype=np.float32)


def clustered(rows: int, dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return unit vectors around 1,000 centres, and queries of the same kind."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1000, dim)).astype(np.float32)
    vectors = centres[rng.integers(0, 1000, rows + 1000)]
    vectors += 0.7 * rng.normal(size=vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors[:rows], vectors[rows:]


def fill(docs: vecstore.Collection, ids: list[str], vectors: NDArray[np.float32]):
    """Upsert in batches; return the median seconds of the first five and of the last five."""
    seconds = []
    batch = len(ids) // BATCHES
    for start in range(0, len(ids), batch):
        began = time.perf_counter()
        docs.upsert(ids=ids[start : start + batch], vectors=vectors[start : start + batch])
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[:5]), statistics.median(seconds[-5:])


def compare(
    ours: Callable[[], object], bare: Callable[[], object], repeats: int
) -> tuple[float, float, float]:
    """Time both in turns; return the median ratio and the best time of each in ms."""
    pairs = []
    for _ in range(repeats):
        began = time.perf_counter()
        ours()
        between = time.perf_counter()
        bare()
        pairs.append((between - began, time.perf_counter() - between))
    ratio = statistics.median(a / b for a, b in pairs)
    return ratio, min(a for a, _ in pairs) * 1000, min(b for _, b in pairs) * 1000


def first_answer(folder: Path, how: str) -> None:
    """Answer one query in a new process."""
    programs = {
        "store": (
            "import vecstore, numpy as np\n"
            f"with vecstore.open({str(folder / 'store')!r}) as store:\n"
            "    docs = store.collection('docs')\n"
            "    query = np.ones(docs.spaces['v1'].dim, np.float32)\n"
            "    docs.search(query, space='v1').ids\n"
        ),
        "numpy": (
            "import numpy as np\n"
            f"rows = np.load({str(folder / 'raw.npy')!r}, mmap_mode='r')\n"
            "scores = rows @ np.ones(rows.shape[1], np.float32)\n"
            "np.argpartition(-scores, 10)[:10]\n"
        ),
    }
    subprocess.run([sys.executable, "-c", programs[how]], check=True)


def report(found: list[dict[str, object]], arguments: argparse.Namespace) -> None:
    """Print the table and write the JSON."""
    table = Table("what", "ratio", "budget", "ours, best ms", "bare, best ms")
    for row in found:
        table.add_row(
            str(row["what"]),
            f"{row['ratio']:.2f}",
            str(row["budget"]),
            f"{row['ours_ms']:.1f}",
            f"{row['bare_ms']:.1f}",
        )
    Console(width=140).print(table)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"store-{arguments.rows}.json").write_text(
        json.dumps(
            {
                "rows": arguments.rows,
                "dim": arguments.dim,
                "repeats": arguments.repeats,
                "machine": platform.machine(),
                "cores": faiss.omp_get_max_threads(),
                "faiss": faiss.__version__,
                "results": found,
            },
            indent=2,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
