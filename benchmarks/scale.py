"""A store from ten thousand to a million rows, end to end, and how each cost grows with the rows.

Each size is measured by new processes: one that ingests, one that builds the index, one that
opens and searches, one that writes to what is there. Prints a table of costs and of the exponent by
which each grows (0 constant, 1 with the rows), writes benchmarks/results/scale-KIND.json;
docs/sizing.md is derived from it.

    python benchmarks/scale.py --rows 10000,100000,1000000
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
BATCH, SINGLES, K, SEED = 10_000, 30, 10, 0


def main() -> None:
    """Measure every size, or do one step of one size in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--kind", default="ivf_flat", help="index kind that is built at every size")
    parser.add_argument("--parameters", default="{}", help="of the kind, as JSON")
    parser.add_argument(
        "--folder", help="where the data lies meanwhile; by default a temporary one"
    )
    parser.add_argument("--data", help="accepted like every benchmark's; this one makes its data")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(STEPS[arguments.step](Path(arguments.folder), arguments)))
        return
    found = []
    for rows in map(int, arguments.rows.split(",")):
        folder = Path(tempfile.mkdtemp(prefix="vecstore-scale-", dir=arguments.folder))
        try:
            found.append({"rows": rows} | steps(folder, rows, arguments))
        finally:
            shutil.rmtree(folder)
    report(found, arguments)


def steps(folder: Path, rows: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the steps of one size, each in a process of its own."""
    found: dict[str, Any] = {}
    for step in STEPS:
        program = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
        program += ["--rows", str(rows), "--dim", str(arguments.dim), "--kind", arguments.kind]
        program += ["--parameters", arguments.parameters]
        done = subprocess.run(program, check=True, capture_output=True, text=True)
        found |= json.loads(done.stdout.splitlines()[-1])
        print(f"{rows:,} {step}: {done.stdout.strip()}", file=sys.stderr, flush=True)
    return found


def ingest(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write all rows, in batches, durably."""
    import vecstore

    rows, spent, used = int(arguments.rows), 0.0, 0.0
    with vecstore.open(folder / "store") as store:
        docs = store.create_collection("docs")
        docs.create_space("v", dim=arguments.dim)
        for start in range(0, rows, BATCH):
            vectors = clustered(start // BATCH, min(BATCH, rows - start), arguments.dim)
            ids = [f"item-{n}" for n in range(start, start + len(vectors))]
            began, cpu = time.perf_counter(), time.process_time()
            docs.upsert(ids=ids, vectors=vectors)
            spent, used = spent + time.perf_counter() - began, used + time.process_time() - cpu
    return {
        "ingest_s": spent,
        "ingest_cpu_s": used,
        "ingest_peak_mb": peak_mb(),
        "disk_mb": disk_mb(folder / "store"),
        "catalog_mb": sum(f.stat().st_size for f in (folder / "store").glob("catalog*")) / 1e6,
    }


def opening(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Open, answer the first query exactly, then measure exact searches."""
    began, cpu = time.perf_counter(), time.process_time()
    import vecstore

    query = np.ones(arguments.dim, np.float32)
    with vecstore.open(folder / "store") as store:
        docs = store.collection("docs")
        _ = docs.search(query, k=K).ids
        first, first_cpu = time.perf_counter() - began, time.process_time() - cpu
        found = {"open_s": first, "open_cpu_s": first_cpu, "open_anonymous_mb": anonymous_mb()}
        return found | searches(docs, arguments, "exact")


def indexing(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Build an index and search through it."""
    import vecstore

    with vecstore.open(folder / "store") as store:
        docs = store.collection("docs")
        before = disk_mb(folder / "store")
        began, cpu = time.perf_counter(), time.process_time()
        docs.build_index(
            space="v", kind=arguments.kind, parameters=json.loads(arguments.parameters)
        )
        found = {
            "build_s": time.perf_counter() - began,
            "build_cpu_s": time.process_time() - cpu,
            "build_peak_mb": peak_mb(),
            "index_mb": disk_mb(folder / "store") - before,
        }
        docs.search(np.ones(arguments.dim, np.float32), k=K)
        found |= searches(docs, arguments, "index")
        with_truth = clustered(10**6, 200, arguments.dim)
        approximate = docs.search(with_truth, k=K).ids
    with vecstore.open(folder / "store") as store:
        docs = store.collection("docs")
        for record in docs.indexes:
            docs.drop_index(record.id)
        true = docs.search(with_truth, k=K).ids
    hits = sum(len(set(a) & set(b)) for a, b in zip(approximate, true, strict=True))
    return found | {"index_recall": hits / true.size}


def updating(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write to what is there: new items, and new revisions of items."""
    import vecstore

    rows = int(arguments.rows)
    with vecstore.open(folder / "store") as store:
        docs = store.collection("docs")
        one = clustered(10**6 + 1, 1, arguments.dim)
        began, cpu = time.perf_counter(), time.process_time()
        docs.upsert(ids=["first"], vectors=one)
        found = {
            "first_write_s": time.perf_counter() - began,
            "first_write_cpu_s": time.process_time() - cpu,
        }
        for name, first in (("append", rows), ("replace", 0)):
            spent, used = [], []
            for turn in range(3):
                start = first + turn * 1000
                ids = [f"item-{n}" for n in range(start, start + 1000)]
                vectors = clustered(10**6 + turn, 1000, arguments.dim)
                began, cpu = time.perf_counter(), time.process_time()
                docs.upsert(ids=ids, vectors=vectors)
                spent.append(time.perf_counter() - began)
                used.append(time.process_time() - cpu)
            found[f"{name}_ms"] = sorted(spent)[1] * 1000
            found[f"{name}_cpu_ms"] = sorted(used)[1] * 1000
        return found | {"update_anonymous_mb": anonymous_mb()}


STEPS = {"ingest": ingest, "open": opening, "update": updating, "index": indexing}


def searches(docs: Any, arguments: argparse.Namespace, name: str) -> dict[str, float]:
    """Return milliseconds of one query and queries per second of a batch."""
    queries = clustered(10**6, 1000, arguments.dim)
    docs.search(queries[0], k=K)
    singles, cpu = [], time.process_time()
    for query in queries[:SINGLES]:
        began = time.perf_counter()
        _ = docs.search(query, k=K).ids
        singles.append(time.perf_counter() - began)
    used = time.process_time() - cpu
    began, cpu = time.perf_counter(), time.process_time()
    _ = docs.search(queries, k=K).ids
    return {
        f"{name}_single_ms": sorted(singles)[SINGLES // 2] * 1000,
        f"{name}_single_cpu_ms": used / SINGLES * 1000,
        f"{name}_batch_s": time.perf_counter() - began,
        f"{name}_batch_cpu_s": time.process_time() - cpu,
    }


def clustered(part: int, rows: int, dim: int) -> Any:
    """Return one part of an endless set of unit vectors around 1,000 centres."""
    centres = np.random.default_rng(SEED).standard_normal((1000, dim), dtype=np.float32)
    rng = np.random.default_rng((SEED, part))
    vectors = centres[rng.integers(0, 1000, rows)]
    vectors += 0.7 * rng.standard_normal(vectors.shape, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def disk_mb(folder: Path) -> float:
    """Return what a folder holds."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


def peak_mb() -> float:
    """Return the most memory this process has had resident, mapped files included."""
    return status_mb("VmHWM")


def anonymous_mb() -> float:
    """Return the resident memory that is this process's own: not mapped files."""
    return status_mb("RssAnon")


def status_mb(name: str) -> float:
    """Return a line of the kernel's account of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024 / 1e6
    return math.nan


def report(found: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Print costs and exponents, and write the JSON."""
    from rich.console import Console
    from rich.table import Table

    sizes = [row["rows"] for row in found]
    table = Table("cost", *(f"{n:,} rows" for n in sizes), "grows as rows^")
    for cost in found[0]:
        if cost == "rows":
            continue
        values = [row[cost] for row in found]
        growth = ""
        if len(values) > 1 and min(values[-2:]) > 0 and cost != "index_recall":
            growth = f"{math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2]):.2f}"
        table.add_row(cost, *(f"{value:,.3g}" for value in values), growth)
    Console(width=120).print(table)
    results = HERE / "results" / f"scale-{arguments.kind}.json"
    results.parent.mkdir(exist_ok=True)
    settings = {"dim": arguments.dim, "kind": arguments.kind, "cores": os.cpu_count()}
    settings |= {"parameters": json.loads(arguments.parameters), "load": os.getloadavg()[0]}
    results.write_text(json.dumps(settings | {"sizes": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
