"""Search time against the number of files: small commits, before and after compaction.

The same rows are committed in ever smaller commits. Each search is timed in turns with that of a
collection whose rows came in one commit, in one process; ratios are medians. Prints a table, writes
benchmarks/results/housekeeping.json.

    python benchmarks/housekeeping.py --rows 20000
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import vecstore

RESULTS = Path(__file__).parent / "results" / "housekeeping.json"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--commits", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--data", help="accepted like every benchmark's; this one makes its data")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vecstore-bench-"))
    try:
        rows = measure(folder, arguments)
    finally:
        shutil.rmtree(folder)
    RESULTS.write_text(json.dumps({"arguments": vars(arguments), "rows": rows}, indent=1) + "\n")
    table = Table("files", "1 query", "100 queries", "1 query, compacted", "100 queries, compacted")
    for row in rows:
        table.add_row(str(row["files"]), *(f"{row[key]:.2f}" for key in list(row)[1:]))
    Console().print(table)


def measure(folder: Path, arguments: argparse.Namespace) -> list[dict[str, float]]:
    """Return the ratios for each number of commits."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((arguments.rows, arguments.dim)).astype(np.float32)
    queries = rng.standard_normal((100, arguments.dim)).astype(np.float32)
    found = []
    with vecstore.open(folder / "store", compact_after=None) as store:
        bare = filled(store, "one", vectors, 1)
        for commits in arguments.commits:
            docs = filled(store, f"in {commits}", vectors, commits)
            row: dict[str, float] = {"files": docs.segments[1].files}
            for state in ("", ", compacted"):
                for name, asked in (("1 query", queries[0]), ("100 queries", queries)):
                    row[name + state] = ratio(
                        lambda docs=docs, asked=asked: docs.search(asked),
                        lambda asked=asked: bare.search(asked),
                        arguments.repeats,
                    )
                docs.compact()
            found.append(row)
    return found


def filled(
    store: vecstore.Store, name: str, vectors: np.ndarray, commits: int
) -> vecstore.Collection:
    """Return a collection whose rows came in a number of commits."""
    docs = store.create_collection(name)
    docs.create_space("v1", dim=vectors.shape[1])
    for number, part in enumerate(np.array_split(vectors, commits)):
        docs.upsert(ids=[f"{number}-{i}" for i in range(len(part))], vectors=part, space="v1")
    return docs


def ratio(ours: Callable[[], object], bare: Callable[[], object], repeats: int) -> float:
    """Return the median ratio of timings taken in turns."""
    for call in (ours, bare):
        call()
    found = []
    for _ in range(repeats):
        seconds = []
        for call in (ours, bare):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        found.append(seconds[0] / seconds[1])
    return statistics.median(found)


if __name__ == "__main__":
    main()
