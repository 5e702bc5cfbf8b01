"""A process that holds one peer: reads orders as lines of JSON, answers with lines of JSON.

    python worker.py PEER FOLDER DATA.npz

It does one thing at a time, when it is told to, so that peers can be timed in turns.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from adapters import EFFORTS, PEERS, K, disk_bytes, peak_bytes

RECALL = 0.95
INGEST_ROWS = 10_000
WARMING = 20


class Worker:
    """The peer, the data, and what can be asked for."""

    def __init__(self, name: str, folder: Path, data: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        # Mapped, so that the data counts for nobody's memory before it is taken.
        self.vectors = np.load(data / "vectors.npy", mmap_mode="r")
        self.buckets = np.load(data / "buckets.npy")
        self.queries = np.load(data / "queries.npy")
        self.tuning = np.load(data / "tuning.npy")
        self.truth = {
            key: np.load(data / f"{key}.npy") for key in ("tuned", "None", "1", "10", "50")
        }
        self.peer = PEERS[name](folder, self.vectors.shape[1])

    def ingest(self) -> dict[str, Any]:
        """Take all rows, then make them searchable; both are timed."""
        taken = self.take()
        began = time.perf_counter()
        self.peer.build(self.tuning)
        return taken | {
            "searchable_s": taken["ingest_s"] + time.perf_counter() - began,
            "filters": self.peer.filters,
            "note": self.peer.note,
        }

    def take(self) -> dict[str, Any]:
        """Take all rows.

        Whoever keeps rows has them on the disk after every batch, of itself or by force.
        """
        forced: dict[Path, int] = {}
        began = time.perf_counter()
        forcing = 0.0
        for start in range(0, len(self.vectors), INGEST_ROWS):
            part = slice(start, start + INGEST_ROWS)
            vectors = np.array(self.vectors[part])
            self.peer.ingest(start, vectors, self.buckets[part])
            if self.peer.durable:
                returned = time.perf_counter()
                force(self.folder, forced)
                forcing += time.perf_counter() - returned
        ingested = time.perf_counter() - began
        return {
            "ingest_s": ingested,
            "returned_s": ingested - forcing,
            "durable": self.peer.durable,
        }

    def tune(self) -> dict[str, Any]:
        """Choose the least effort that reaches the recall on queries of their own."""
        for effort in EFFORTS:
            settable = self.peer.effort(effort)
            reached = recall(self.peer.search(self.tuning), self.truth["tuned"])
            if reached >= RECALL or not settable:
                break
        self.singles = 0
        return {"effort": effort if settable else None, "tuned_recall": reached}

    def recall(self, below: int | None) -> dict[str, Any]:
        """Return the recall, filtered or not."""
        return {"recall": recall(self.peer.search(self.queries, below), self.truth[str(below)])}

    def batch(self) -> dict[str, Any]:
        """Time all queries as one batch."""
        return timed(lambda: self.peer.search(self.queries), len(self.queries))

    def single(self, below: int | None, count: int) -> dict[str, Any]:
        """Time queries one by one, other ones each time."""
        chosen = [self.queries[(self.singles + n) % len(self.queries)] for n in range(count)]
        self.singles += count
        self.awake(below)
        return timed(lambda: [self.peer.single(query, below) for query in chosen], count)

    def awake(self, below: int | None) -> None:
        """Fill the processor's caches, which the peer whose turn it was before has emptied."""
        for query in self.queries[-WARMING:]:
            self.peer.single(query, below)

    def exact(self, count: int) -> dict[str, Any]:
        """Time queries one by one without an index."""
        if self.peer.exact(self.queries[0]) is None:
            return {"qps": None}
        return timed(lambda: [self.peer.exact(query) for query in self.queries[:count]], count)

    def size(self) -> dict[str, Any]:
        """Return the bytes on disk and the peak of resident memory."""
        return {"disk": disk_bytes(self.folder), "peak": peak_bytes()}


def force(folder: Path, forced: dict[Path, int]) -> None:
    """Have the disk take what changed in a folder since the last time; some peers did it before."""
    for path in (folder, *folder.rglob("*")):
        try:
            changed = path.stat().st_mtime_ns
            if forced.get(path) == changed:
                continue
            number = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # a peer at work in the background removed it
            continue
        os.fsync(number)
        os.close(number)
        forced[path] = changed


def timed(work: Any, count: int) -> dict[str, Any]:
    """Return the queries per second of one go."""
    began = time.perf_counter()
    work()
    return {"qps": count / (time.perf_counter() - began)}


def recall(found: Any, truth: Any) -> float:
    """Return the share of true neighbours that were found."""
    hits = sum(len(set(map(int, a)) & set(b.tolist())) for a, b in zip(found, truth, strict=True))
    return float(hits / (len(truth) * K))


def main() -> None:
    """Work until the input ends."""
    name, folder, data = sys.argv[1:]
    out = sys.stdout
    sys.stdout = sys.stderr  # what libraries print must not get between the answers
    worker = None
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if worker is None:
                worker = Worker(name, Path(folder), Path(data))
            answer = getattr(worker, order.pop("do"))(**order)
        except BaseException as error:  # noqa: BLE001 - whatever a peer does is an answer
            answer = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
