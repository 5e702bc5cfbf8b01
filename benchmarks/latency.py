"""What a single query costs beyond its search: 200 rows in 10 files, where searching is nothing.

Prints the median microseconds of FAISS alone, of `search`, of `search(...).ids` and of every hit
made an object, exact and through HNSW; writes benchmarks/results/latency.json.

    python benchmarks/latency.py
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

RESULTS = Path(__file__).parent / "results" / "latency.json"
ROWS, FILES, DIM, K = 200, 10, 384, 10


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1500)
    parser.add_argument("--data", help="accepted like every benchmark's; this one makes its data")
    repeats = parser.parse_args().repeats
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((ROWS, DIM), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, vecstore.open(folder) as store:
        found = {kind: measure(store, kind, vectors, repeats) for kind in ("exact", "hnsw")}
    table = Table("us", *next(iter(found.values())))
    for kind, costs in found.items():
        table.add_row(kind, *(f"{cost:,.0f}" for cost in costs.values()))
    Console(width=100).print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"repeats": repeats, "microseconds": found}, indent=2) + "\n")


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


if __name__ == "__main__":
    main()
