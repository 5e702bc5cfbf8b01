"""What a single query costs beyond its search: 200 rows in 10 files, where searching is nothing.

Prints the median microseconds of FAISS alone, of `search`, of `search(...).ids` and of every hit
made an object, exact and through HNSW. Then, over a real number of rows in 40 files, the mean
microseconds of each part of a query right after the index was searched, which leaves no cache
warm: the least of several rounds. Writes benchmarks/results/latency.json.

    python benchmarks/latency.py --rows 100000
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from rich.console import Console
from rich.table import Table

import vecstore
from vecstore.hits import Hits

RESULTS = Path(__file__).parent / "results" / "latency.json"
ROWS, FILES, DIM, K = 200, 10, 384, 10
MANY_FILES = 40


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1500)
    parser.add_argument("--data", help="accepted like every benchmark's; this one makes its data")
    parser.add_argument("--rows", type=int, default=20_000, help="rows under the parts")
    parser.add_argument("--rounds", type=int, default=15, help="of 1,000 queries, for each part")
    arguments = parser.parse_args()
    repeats = arguments.repeats
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((ROWS, DIM), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, vecstore.open(folder) as store:
        found = {kind: measure(store, kind, vectors, repeats) for kind in ("exact", "hnsw")}
        cold = parts(store, arguments.rows, arguments.rounds)
    table = Table("us", *next(iter(found.values())))
    for kind, costs in found.items():
        table.add_row(kind, *(f"{cost:,.0f}" for cost in costs.values()))
    beside = Table(f"us, {arguments.rows:,} rows", *cold)
    beside.add_row("", *(f"{cost:,.1f}" for cost in cold.values()))
    Console(width=100).print(table, beside)
    RESULTS.parent.mkdir(exist_ok=True)
    results = {
        "repeats": repeats, "microseconds": found, "rows": arguments.rows, "parts": cold
    }  # fmt: skip
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def measure(store: vecstore.Store, kind: str, vectors: Any, repeats: int) -> dict[str, float]:
    """Return the median microseconds of each form of a search."""
    docs = store.create_collection(kind)
    docs.create_space("v", dim=DIM)
    for start in range(0, ROWS, ROWS // FILES):
        part = range(start, start + ROWS // FILES)
        docs.upsert(ids=[f"item-{n}" for n in part], vectors=vectors[part])
    bare = faiss.IndexFlatIP(DIM)
    if kind == "hnsw":
        docs.build_index(space="v", kind="hnsw")
        bare = faiss.IndexHNSWFlat(DIM, 32, faiss.METRIC_INNER_PRODUCT)
        bare.hnsw.efSearch = 64
    bare.add(vectors)
    forms: dict[str, Callable[[Any], object]] = {
        "FAISS alone": lambda query: bare.search(query[None], K),
        "search": lambda query: docs.search(query, k=K),
        "with ids": lambda query: docs.search(query, k=K).ids,
        "with every hit": lambda query: list(docs.search(query, k=K)),
    }
    times: dict[str, list[float]] = {form: [] for form in forms}
    for number in range(repeats):
        for form, ask in forms.items():
            query = vectors[number % ROWS]
            began = time.perf_counter()
            ask(query)
            times[form].append((time.perf_counter() - began) * 1e6)
    return {form: statistics.median(each) for form, each in times.items()}


def parts(store: vecstore.Store, rows: int, rounds: int) -> dict[str, float]:
    """Return what each part of a query takes after the index's own search, and that itself."""
    from store import clustered

    vectors, asked = clustered(rows, DIM)
    docs = store.create_collection("parts")
    docs.create_space("v", dim=DIM)
    for start in range(0, rows, rows // MANY_FILES):
        part = range(start, min(start + rows // MANY_FILES, rows))
        docs.upsert(ids=[f"item-{n}" for n in part], vectors=vectors[part.start : part.stop])
    docs.build_index(space="v", kind="hnsw")
    for query in asked:
        _ = docs.search(query, k=K).ids  # until all is open that a query opens
    version = docs._version()
    plain = version.plain(None)
    index, originals, snapshot = plain._index, plain._originals, version.snapshot
    queries = [(query, query[None]) for query in asked]

    forms: dict[str, Callable[[Any, Any], object]] = {
        "the clock": lambda query, found: None,
        "is it the newest version": lambda query, found: docs._version(),
        "check the query": lambda query, found: plain.space.takes(query),
        "make the result": lambda query, found: Hits(plain.result(*found), 0),
        "take note": lambda query, found: docs._note(plain.space_id, query[None], found[1]),
        "ids": lambda query, found: snapshot.id_strings(found[1][0]),
    }
    clock, least = time.perf_counter_ns, dict.fromkeys([*forms, "the index"], float("inf"))
    for _ in range(rounds):
        for name, form in forms.items():
            spent = began = 0
            whole = clock()
            for query, row in queries:
                found = index.nearest(row, K, originals=originals)
                began = clock()
                form(query, found)
                spent += clock() - began
            searching = clock() - whole - spent
            least[name] = min(least[name], spent / len(queries) / 1e3)
            least["the index"] = min(least["the index"], searching / len(queries) / 1e3)
    bare = least.pop("the clock")
    return {name: cost - bare for name, cost in least.items()}


if __name__ == "__main__":
    main()
