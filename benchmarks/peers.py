"""vecstore beside other stores and libraries: same data, same recall, one process each, in turns.

Peers live in an environment of their own (`make peers`), never in ours. Each takes the rows, is
made searchable and tuned to a recall of 0.95 on queries of their own; then all are timed in
turns, round after round, and the medians are compared. Of an ingest the disk has every batch
before the next: what a peer does not force to it by itself is forced for it, and shown without,
too; ingests are repeated in new processes, in turns, and the medians count. A peer that is not
installed or fails is named, and the rest go on. Prints a table, writes
benchmarks/results/peers-DATA.json.

    python benchmarks/peers.py --rows 100000
    python benchmarks/peers.py --data FOLDER --only vecstore,hnswlib
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from peer.adapters import PEERS, K
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
PYTHON = HERE.parent / "build" / "peers" / "bin" / "python"
SHARES = (1, 10, 50)
QUERIES, TUNING = 1000, 500
MINUTE = 60  # seconds; an ingest that takes as long is not repeated


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of embeddings; its debian/minilm documents are used")
    parser.add_argument("--rows", type=int, default=100_000, help="generated rows, without --data")
    parser.add_argument("--only", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ingests", type=int, default=9, help="turns of the ingest alone")
    parser.add_argument("--singles", type=int, default=100, help="single queries in a round")
    parser.add_argument("--patience", type=int, default=900, help="seconds for one order")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--python", default=str(PYTHON), help="interpreter that has the peers")
    arguments = parser.parse_args()
    if arguments.rows < 3000:
        parser.error("expected at least 3,000 rows: a filter of 1 % must leave ten of them")
    folder = Path(tempfile.mkdtemp(prefix="vecstore-peers-"))
    try:
        name, vectors, queries = data(arguments)
        prepare(folder / "data", vectors, queries)
        found = measure(folder, arguments)
    finally:
        shutil.rmtree(folder)
    report(name, len(vectors), found, arguments)


def data(arguments: argparse.Namespace) -> tuple[str, Any, Any]:
    """Return a name, unit rows, and queries: 500 to tune on and 1,000 to measure with."""
    wanted = QUERIES + TUNING
    if arguments.data:
        place = Path(arguments.data) / "debian" / "emb"
        vectors = np.load(place / "docs.minilm.f16.npy").astype(np.float32)
        queries = np.load(place / "queries.minilm.f16.npy").astype(np.float32)[:wanted]
        return "debian-minilm", unit(vectors), unit(queries)
    from store import clustered

    vectors, queries = clustered(arguments.rows + wanted, 384)
    return "clustered", vectors[: arguments.rows], np.array(vectors[arguments.rows :])


def unit(rows: Any) -> Any:
    """Scale rows to unit norm."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def prepare(folder: Path, vectors: Any, queries: Any) -> None:
    """Write the data and the true neighbours, with and without the filters, for all processes."""
    folder.mkdir()
    buckets = np.random.default_rng(1).integers(0, 100, len(vectors))
    tuning, queries = queries[:TUNING], queries[TUNING:]
    np.save(folder / "vectors.npy", np.ascontiguousarray(vectors))
    np.save(folder / "buckets.npy", buckets)
    np.save(folder / "tuning.npy", np.ascontiguousarray(tuning))
    np.save(folder / "queries.npy", np.ascontiguousarray(queries))
    np.save(folder / "tuned.npy", nearest(vectors, tuning))
    np.save(folder / "None.npy", nearest(vectors, queries))
    for share in SHARES:
        rows = np.flatnonzero(buckets < share)
        np.save(folder / f"{share}.npy", rows[nearest(vectors[rows], queries)])


def nearest(vectors: Any, queries: Any) -> Any:
    """Return the true neighbours by numpy, which none of the measured is."""
    parts = []
    for start in range(0, len(queries), 100):
        scores = queries[start : start + 100] @ vectors.T
        parts.append(np.argpartition(-scores, K - 1, axis=1)[:, :K])
    return np.concatenate(parts)


class Process:
    """A worker and the pipe to it."""

    def __init__(
        self, name: str, folder: Path, arguments: argparse.Namespace, place: str | None = None
    ) -> None:
        python = sys.executable if name == "vecstore" else arguments.python
        threads = str(arguments.threads)
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = dict(os.environ) | dict.fromkeys(names, threads)
        if name != "vecstore":
            environment.pop("PYTHONPATH", None)
        self.patience = arguments.patience
        program = [python, str(HERE / "peer" / "worker.py")]
        self.process = subprocess.Popen(
            [*program, name, str(folder / (place or name)), str(folder / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def ask(self, do: str, **how: Any) -> dict[str, Any]:
        """Give an order and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **how}) + "\n")
            self.process.stdin.flush()
            if not select.select([self.process.stdout], [], [], self.patience)[0]:
                self.end()
                return {"error": f"gave up after {self.patience} s of {do}"}
            return json.loads(self.process.stdout.readline() or '{"error": "the process ended"}')  # type: ignore[no-any-return]
        except BrokenPipeError:
            return {"error": "the process ended"}

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return everything measured, by peer."""
    found: dict[str, dict[str, Any]] = {}
    running: dict[str, Process] = {}
    for name in arguments.only.split(","):
        try:
            process = Process(name, folder, arguments)
        except OSError as error:
            found[name] = {"error": f"{error}; run `make peers`"}
            continue
        kept: dict[str, Any] = {}
        os.sync()  # who waits for the disk must not wait for what others wrote before
        for order in ({"do": "ingest"}, {"do": "tune"}):
            kept |= process.ask(**order)
            if "error" in kept:
                break
        found[name] = kept
        print(f"{name}: {kept}", file=sys.stderr, flush=True)
        if "error" in kept:
            process.end()
            continue
        running[name] = process
    ingests(found, folder, arguments)
    try:
        rounds(running, found, arguments)
    finally:
        for process in running.values():
            process.end()
    return found


def ingests(found: dict[str, dict[str, Any]], folder: Path, arguments: argparse.Namespace) -> None:
    """Time the ingest alone in turns, each in a new process; the medians take its place."""
    quick = [n for n, kept in found.items() if kept.get("durable") and kept["ingest_s"] < MINUTE]
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(arguments.ingests):
        for name in quick:
            process = Process(name, folder, arguments, "again")
            os.sync()
            taken = process.ask("take")
            process.end()
            for what in ("ingest_s", "returned_s"):
                times.setdefault((name, what), []).append(taken[what])
    for (name, what), values in times.items():
        found[name][what] = statistics.median(values)


def rounds(
    running: dict[str, Process], found: dict[str, dict[str, Any]], arguments: argparse.Namespace
) -> None:
    """Time what runs in turns; the medians are kept."""
    orders: dict[str, dict[str, Any]] = {
        "single": {"do": "single", "below": None, "count": arguments.singles},
        "batch": {"do": "batch"},
        "exact": {"do": "exact", "count": max(5, arguments.singles // 5)},
    }
    for share in SHARES:
        orders[f"filter_{share}"] = {
            "do": "single",
            "below": share,
            "count": arguments.singles // 2,
        }
    times: dict[tuple[str, str], list[float]] = {}
    for number in range(arguments.rounds + 1):
        for what, order in orders.items():
            for name, process in running.items():
                if what.startswith("filter") and not found[name]["filters"]:
                    continue
                qps = process.ask(**order).get("qps")
                if number and qps is not None:  # the first round warms up
                    times.setdefault((name, what), []).append(qps)
    for (name, what), values in times.items():
        found[name][what] = statistics.median(values)
    for name, process in running.items():
        found[name]["recall"] = process.ask("recall", below=None).get("recall")
        for share in SHARES if found[name]["filters"] else ():
            answer = process.ask("recall", below=share)
            found[name][f"recall_{share}"] = answer.get("recall", answer.get("error"))
        found[name] |= process.ask("size")


def report(
    name: str, rows: int, found: dict[str, dict[str, Any]], arguments: argparse.Namespace
) -> None:
    """Print two tables and write the JSON."""
    columns = {
        "recall": ("recall", "{:.3f}"),
        "ingest rows/s": ("rows_s", "{:,.0f}"),
        "not forced": ("returned_rows_s", "{:,.0f}"),
        "searchable s": ("searchable_s", "{:.1f}"),
        "single q/s": ("single", "{:,.0f}"),
        "batch q/s": ("batch", "{:,.0f}"),
        "exact q/s": ("exact", "{:,.0f}"),
        **{f"{share} % q/s": (f"filter_{share}", "{:,.0f}") for share in SHARES},
        **{f"{share} % recall": (f"recall_{share}", "{:.3f}") for share in SHARES},
        "disk MB": ("disk_mb", "{:,.0f}"),
        "peak MB": ("peak_mb", "{:,.0f}"),
    }
    table = Table("peer", *columns)
    for peer, kept in found.items():
        if "error" in kept:
            table.add_row(peer, f"not measured: {kept['error']}")
            continue
        for key, seconds in (("rows_s", "ingest_s"), ("returned_rows_s", "returned_s")):
            kept[key] = rows / kept[seconds] if kept["durable"] else None
        kept["disk_mb"], kept["peak_mb"] = kept["disk"] / 1e6, kept["peak"] / 1e6
        cells = [
            form.format(kept[key]) if isinstance(kept.get(key), float) else "-"
            for key, form in columns.values()
        ]
        table.add_row(peer, *cells)
    Console(width=200).print(f"{name}, {rows:,} rows, {arguments.rounds} rounds", table)
    budgets(found)
    results = HERE / "results" / f"peers-{name}.json"
    results.parent.mkdir(exist_ok=True)
    settings = {"data": name, "rows": rows, "rounds": arguments.rounds, "cores": os.cpu_count()}
    results.write_text(json.dumps(settings | {"peers": found}, indent=2) + "\n")


def budgets(found: dict[str, dict[str, Any]]) -> None:
    """Print our ratios against the budgets."""
    ours = found.get("vecstore", {})
    table = Table("what", "ratio", "budget")
    for what, key, peer, budget in (
        ("single-query throughput over Chroma's", "single", "chroma", 4.0),
        ("single-query throughput over hnswlib's", "single", "hnswlib", 0.9),
        ("durable ingest over LanceDB's", "rows_s", "lancedb", 1.0),
        ("the same, LanceDB's not forced to the disk", "returned_rows_s", "lancedb", None),
        ("exact single query over LanceDB's unindexed search", "exact", "lancedb", 8.0),
    ):
        other = found.get(peer, {}).get(key)
        if ours.get(key) and other:
            table.add_row(what, f"{ours[key] / other:.2f}", f">= {budget}" if budget else "")
    if ours.get("filter_10") and ours.get("single"):
        ratio = ours["filter_10"] / ours["single"]
        table.add_row("filtered at 10 % over unfiltered, one index", f"{ratio:.2f}", ">= 0.5")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
