"""Backfill curves: quality against the share of the corpus embedded, for each priority.

7,000 Debian package descriptions in the old model, 500 others embedded by both models (the pairs),
ridge as the family. 750 real queries are searched once, which makes the demand, sets the offset and
judges refits; then the corpus is backfilled in steps, and nDCG@10 is measured after each step: of
the *other* 750 queries, no two of which want the same document, and of the first 750 asked again.
The area under the curve is the mean nDCG@10 over the share embedded.

Usage: python benchmarks/backfill.py --data FOLDER [--source MODEL ...]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.parquet as pq

import vecstore
from vecstore.upgrade.priorities import Priority
from vecstore_ingest import LookupEncoder
from vecstore_translators import unit_rows
from vecstore_translators.evaluation import ndcg_at_k

RESULT = Path(__file__).parent / "results" / "backfill.json"
SOURCES, TARGET = ("minilm-l4", "lsa256", "ft200"), "minilm"
CORPUS, PAIRS, QUERIES, ASKED = 7000, 500, 1500, 750
SHARES = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
EARLY = 0.2
FAMILIES = ("ridge",)


def main() -> None:
    args = arguments()
    report: dict[str, Any] = {"curves": []}
    for source in args.source:
        with tempfile.TemporaryDirectory() as folder:
            report["curves"] += curves(args.data / "debian", source, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        report["demand_cost"] = cost(args.data / "debian", Path(folder))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")


def curves(data: Path, source: str, folder: Path) -> list[dict[str, Any]]:
    """Run every priority from the same store; random also without refits."""
    texts = pq.read_table(data / "docs.parquet", columns=["text"]).column("text").to_pylist()
    old, new = vectors(data, "docs", source), vectors(data, "docs", TARGET)
    queries = vectors(data, "queries", TARGET)
    # Shuffled: the answers of the queries come first in the file, and "oldest" would know.
    rows = np.r_[np.random.default_rng(0).permutation(CORPUS), CORPUS : CORPUS + PAIRS]
    ids = [f"d{row}" for row in rows]
    encoder = LookupEncoder(name=TARGET, texts=[texts[r] for r in rows], vectors=new[rows])
    with vecstore.open(folder / "start") as store:
        docs = store.create_collection("debian")
        docs.create_space("old", dim=old.shape[1], model=source)
        docs.upsert(
            ids=ids,
            vectors=old[rows],
            documents=[texts[r] for r in rows],
            metadata={"corpus": [bool(r < CORPUS) for r in rows]},
        )
        docs.create_space("new", dim=new.shape[1], model=TARGET, supersedes="old")
        docs.add_vectors(ids=ids[CORPUS:], vectors=new[rows[CORPUS:]], space="new")
        docs.fit_translator(
            source="old", target="new", family=list(FAMILIES), queries=queries[:ASKED]
        )
    found = []
    print(f"\n{source} -> {TARGET}: nDCG@10 of {QUERIES - ASKED} queries by share embedded")
    print(f"{'priority':<26}" + "".join(f"{share:>7.0%}" for share in SHARES) + "   area  early")
    runs = [(priority, True) for priority in get_args(Priority)] + [("random", False)]
    for number, (priority, refit) in enumerate(runs):
        place = folder / f"run-{number}"
        shutil.copytree(folder / "start", place)
        began = time.perf_counter()
        with vecstore.open(place, refit=False) as store:
            handle = store.collection("debian")
            curve, again, refits = run(handle, encoder, queries, priority, refit)
        result = {
            "source": source,
            "priority": priority,
            "refit": refit,
            "shares": SHARES,
            "ndcg": curve,
            "ndcg_again": again,
            "area": area(SHARES, curve, 1.0),
            "early_area": area(SHARES, curve, EARLY),
            "area_again": area(SHARES, again, 1.0),
            "early_area_again": area(SHARES, again, EARLY),
            "refits": refits,
            "seconds": time.perf_counter() - began,
        }
        found.append(result)
        name = priority if refit else f"{priority}, no refit"
        for what, values, ends in (
            (name, curve, ("area", "early_area")),
            ("  asked again", again, ("area_again", "early_area_again")),
        ):
            numbers = (*values, *(result[end] for end in ends))
            print(f"{what:<26}" + "".join(f"{number:7.3f}" for number in numbers), flush=True)
        shutil.rmtree(place)
    return found


def run(
    docs: vecstore.Collection, encoder: LookupEncoder, queries: Any, priority: Any, refit: bool
) -> tuple[list[float], list[float], int]:
    """Backfill step by step; return both curves and how many refits were kept."""
    docs.search(queries[:ASKED], space="new", k=10, where="corpus")  # the demand
    curves: tuple[list[float], list[float]] = ([], [])
    refits = done = 0
    for share in SHARES:
        budget = round(share * CORPUS) - done
        if budget:
            report = docs.backfill(
                to="new", budget=budget, priority=priority, encoder=encoder, batch=350, refit=refit
            )
            assert report.embedded == budget
            done, refits = done + budget, refits + report.refits
        # Versions are searched, so that measuring asks for nothing.
        result = docs.latest().search(queries, space="new", k=10, where="corpus")
        ranked = np.array([[-1 if i is None else int(i[1:]) for i in row] for row in result.ids])
        values = ndcg_at_k(ranked, np.arange(QUERIES)[:, np.newaxis], 10)
        curves[0].append(float(values[ASKED:].mean()))
        curves[1].append(float(values[:ASKED].mean()))
    return *curves, refits


def cost(data: Path, folder: Path) -> dict[str, float]:
    """Measure what counting demand adds to a search, as a share, in turns in one process."""
    new, queries = vectors(data, "docs", TARGET), vectors(data, "queries", TARGET)
    taken: dict[str, list[float]] = {"single": [], "batch": []}
    with vecstore.open(folder / "cost") as store:
        docs = store.create_collection("debian")
        docs.create_space("new", dim=new.shape[1])
        docs.upsert(ids=[f"d{n}" for n in range(len(new))], vectors=new)
        docs.build_index(space="new", kind="hnsw")
        counted, note = docs._demand.count, docs._recent.add
        version, target = docs.latest(), docs.latest().snapshot.space("new").id
        for _ in range(5):
            for what, batches in (
                ("single", [queries[n : n + 1] for n in range(500)]),
                ("batch", [queries[:1000]]),
            ):
                began = time.perf_counter()
                found = [version.search(batch, k=10).row_ids for batch in batches]
                searched = time.perf_counter() - began
                began = time.perf_counter()
                for batch, row_ids in zip(batches, found, strict=True):
                    counted(row_ids)
                    note(target, batch)
                taken[what].append((time.perf_counter() - began) / searched)
    shares = {what: float(np.median(values)) for what, values in taken.items()}
    print(
        f"\ncounting demand, share of an HNSW search of {len(new):,} documents: single query "
        f"{shares['single']:.2%}, batch of 1,000 {shares['batch']:.2%}"
    )
    return shares


def area(shares: Any, curve: Any, until: float) -> float:
    """Return the mean height of a curve from 0 to a share, by trapezia."""
    kept = [i for i, share in enumerate(shares) if share <= until]
    x, y = np.array(shares)[kept], np.array(curve)[kept]
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) / until)


def vectors(data: Path, part: str, model: str) -> Any:
    return unit_rows(np.load(data / "emb" / f"{part}.{model}.f16.npy"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--source", nargs="*", default=SOURCES, choices=SOURCES)
    return parser.parse_args()


if __name__ == "__main__":
    main()
