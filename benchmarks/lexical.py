"""Words beside vectors: what searches with text= cost, and what keeping their index costs.

12,000 Debian descriptions embedded by minilm. Ratios of searches are taken in turns in one run,
native vectors and translated ones (minilm-l4, 500 pairs), one query and 500; the index is built
from nothing, and brought up to date after 120 new documents, by the first search that needs it.

Usage: python benchmarks/lexical.py --data FOLDER [--repeats 7]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from corpora.debian import Debian
from rich.console import Console
from rich.table import Table

import vecstore

RESULT = Path(__file__).parent / "results" / "lexical.json"
ITEMS, FEW, BATCH = 12_000, 120, 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    data = Debian(args.data, "minilm-l4")
    with tempfile.TemporaryDirectory() as folder, vecstore.open(folder) as store:
        report = {
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "repeats": args.repeats,
            **measure(data, store, Path(folder), args.repeats),
        }
    RESULT.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    table = Table("search with text= over search without", "ratio", "with, ms", "without, ms")
    for name, row in report["searches"].items():
        table.add_row(name, f"{row['ratio']:.2f}", f"{row['with']:.2f}", f"{row['without']:.2f}")
    Console(width=120).print(table)
    print("index", json.dumps(report["index"]))


def measure(data: Debian, store: vecstore.Store, folder: Path, repeats: int) -> dict[str, Any]:
    first = ITEMS - FEW
    docs = data.collection(store, "docs", items=first, native=np.arange(500))
    docs.fit_translator(source="old", target="new", family="ridge")

    def ask(count: int, *, words: bool) -> Callable[[], object]:
        vectors, texts = data.queries[:count], data.texts[:count]
        return lambda: docs.search(vectors, space="new", text=texts if words else None)

    docs.search(data.queries[0], space="new")  # opens and translates
    built = seconds(ask(1, words=True))
    size = sum(file.stat().st_size for file in folder.rglob("lexical/*/*"))
    opened = seconds(ask(1, words=True))
    docs.upsert(
        ids=[str(row) for row in range(first, ITEMS)],
        vectors={"old": data.old[first:ITEMS]},
        documents=data.documents[first:ITEMS],
    )
    docs.search(data.queries[0], space="new")
    added = seconds(ask(1, words=True))
    searches = {}
    for kind in ("translated", "native"):
        for count in (1, BATCH):
            name = f"{kind}, {count} quer{'y' if count == 1 else 'ies'}"
            searches[name] = ratio(
                ask(count, words=True), ask(count, words=False), repeats * (20 if count == 1 else 1)
            )
        data.cover(docs, np.arange(ITEMS))
    return {
        "searches": searches,
        "index": {
            "documents": first,
            "built, s": built,
            "searched again, s": opened,
            f"{FEW} more, s": added,
            "more / built": added / built,
            "bytes a byte of text": size / sum(len(text.encode()) for text in data.documents),
        },
    }


def ratio(one: Callable[[], object], other: Callable[[], object], repeats: int) -> dict[str, float]:
    """Time both in turns; the median of the ratios and of each, in ms."""
    one(), other()
    times = [(seconds(one), seconds(other)) for _ in range(repeats)]
    return {
        "ratio": statistics.median(a / b for a, b in times),
        "with": statistics.median(a for a, _ in times) * 1000,
        "without": statistics.median(b for _, b in times) * 1000,
    }


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
