"""Cascades under load: what keeping coverage costs a query, who embeds what, encoders that fail.

7,000 Debian descriptions, 500 pairs, minilm-l4 -> minilm; cascades of depth 20 over 750 queries.

- committing: the same queries one by one, in turns on two equal collections, one of which keeps
  what it embeds; the ratio of the total times holds the plans that a commit makes anew. With an
  encoder that answers at once and with one that takes 20 ms a call.
- at once: 8 threads send the queries; documents given to the encoder, and how often any of them.
- failing: an encoder that refuses every third call; how many answers say so, and their quality.

Usage: python benchmarks/cascade.py --data FOLDER [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from corpora.debian import CORPUS, Debian, K
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import vecstore
from vecstore.errors import EncoderError
from vecstore_translators.evaluation import ndcg_at_k

RESULT = Path(__file__).parent / "results" / "cascade.json"
PAIRS, ASKED, DEPTH, THREADS = 500, 750, 20, 8


class Counting:
    """The data's encoder, slower, counted, and failing as told. Thread-safe."""

    def __init__(self, data: Debian, *, seconds: float = 0.0, fail_every: int = 0) -> None:
        self._inner, self._seconds, self._fail_every = data.encoder, seconds, fail_every
        self.name, self.revision = data.encoder.name, data.encoder.revision
        self.dim, self.profile = data.encoder.dim, data.encoder.profile
        self.asked: Counter[str] = Counter()
        self.calls = self.failed = 0
        self._lock = threading.Lock()

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with self._lock:
            self.calls += 1
            fails = self._fail_every > 0 and self.calls % self._fail_every == 0
            self.failed += fails
            if not fails:
                self.asked.update(texts)
        if fails:
            raise EncoderError("busy")
        time.sleep(self._seconds)
        return self._inner.encode_documents(texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._inner.encode_queries(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    data = Debian(args.data, "minilm-l4")
    with tempfile.TemporaryDirectory() as folder, vecstore.open(folder) as store:
        bench = Bench(data, store)
        report = {
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "repeats": args.repeats,
            "committing": {
                f"{milliseconds} ms": [
                    bench.committing(milliseconds / 1000, start * 250)
                    for start in range(args.repeats)
                ]
                for milliseconds in (0, 20)
            },
            "at once": bench.at_once(),
            "failing": bench.failing(),
        }
    RESULT.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    show(report)


class Bench:
    """Equal collections, one for each measurement."""

    def __init__(self, data: Debian, store: vecstore.Store) -> None:
        self.data, self.store, self.made = data, store, 0

    def collection(self) -> vecstore.Collection:
        self.made += 1
        pairs = np.arange(CORPUS, CORPUS + PAIRS)
        docs = self.data.collection(
            self.store, f"docs {self.made}", items=CORPUS + PAIRS, native=pairs
        )
        docs.fit_translator(source="old", target="new", family="ridge")
        docs.search(self.data.queries[0], space="new")  # opened and translated
        return docs

    def committing(self, seconds: float, first: int) -> dict[str, float]:
        """Return times per query with and without keeping what is embedded, in ms."""
        keeping, forgetting = self.collection(), self.collection()
        encoder = Counting(self.data, seconds=seconds)
        before, times = keeping.version, {True: [], False: []}
        for number in range(first, first + 250):
            query = self.data.queries[number % ASKED]
            for docs, commit in ((keeping, True), (forgetting, False)):
                began = time.perf_counter()
                docs.search(query, space="new", k=K, depth=DEPTH, encoder=encoder, commit=commit)
                times[commit].append((time.perf_counter() - began) * 1000)
        keeping.flush()
        return {
            "ratio": sum(times[True]) / sum(times[False]),
            "ratio of medians": statistics.median(times[True]) / statistics.median(times[False]),
            "keeping": statistics.mean(times[True]),
            "forgetting": statistics.mean(times[False]),
            "slowest keeping": max(times[True]),
            "slowest forgetting": max(times[False]),
            "commits": keeping.version - before,
            "kept": keeping.spaces["new"].native - PAIRS,
        }

    def at_once(self) -> dict[str, int]:
        """Return what the encoder got while eight threads asked."""
        docs, encoder = self.collection(), Counting(self.data, seconds=0.02)
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(
                pool.map(
                    lambda query: (
                        docs.search(query, space="new", k=K, depth=DEPTH, encoder=encoder).embedded
                    ),
                    self.data.queries[:ASKED],
                )
            )
        alone, counted = self.collection(), Counting(self.data)
        for query in self.data.queries[:ASKED]:
            alone.search(query, space="new", k=K, depth=DEPTH, encoder=counted, commit=False)
        return {
            "queries": ASKED,
            "wanted": sum(found),
            "embedded": encoder.asked.total(),
            "distinct": len(encoder.asked),
            "embedded without keeping": counted.asked.total(),
            "native": docs.spaces["new"].native - PAIRS,
        }

    def failing(self) -> dict[str, Any]:
        """Return how answers fare while the encoder refuses every third call."""
        docs, encoder = self.collection(), Counting(self.data, fail_every=3)
        flagged, ranking, plain = [], [], []
        for query in self.data.queries[:ASKED]:
            hits = docs.search(query, space="new", k=K, depth=DEPTH, encoder=encoder, commit=False)
            flagged.append(hits.degraded is not None)
            ranking.append(hits.ids)
            plain.append(docs.search(query, space="new", k=K).ids)
        degraded = np.array(flagged)
        quality = ndcg_at_k(np.array(ranking).astype(int), np.arange(ASKED), K)
        translated = ndcg_at_k(np.array(plain).astype(int), np.arange(ASKED), K)
        return {
            "refused calls": encoder.failed,
            "flagged answers": int(degraded.sum()),
            "flagged ndcg": float(quality[degraded].mean()),
            "the same queries, translated": float(translated[degraded].mean()),
            "ndcg of the others": float(quality[~degraded].mean()),
        }


def show(report: dict[str, Any]) -> None:
    """Print the tables."""
    shown = ("keeping", "forgetting", "slowest keeping", "slowest forgetting")
    table = Table("encoder", "ratio", "of medians", *shown, "commits", "kept")
    for encoder, runs in report["committing"].items():
        for run in runs:
            table.add_row(
                encoder,
                f"{run['ratio']:.2f}",
                f"{run['ratio of medians']:.2f}",
                *(f"{run[what]:.1f} ms" for what in shown),
                str(run["commits"]),
                str(run["kept"]),
            )
    Console(width=120).print(table)
    for what in ("at once", "failing"):
        print(what, json.dumps(report[what]))


if __name__ == "__main__":
    main()
