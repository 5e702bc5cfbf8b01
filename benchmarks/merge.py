"""Native and translated scores in one ranking: a learned offset against the usual ways to merge.

12,000 Debian descriptions by an old model, a random share of them by the new one too. Documents
without a new vector are mapped forward by ridge, fitted on the covered documents (or always on
the same 500). 750 queries lend their vectors to whatever is learned, the other 750 are measured.

- offset: what the store learns from real queries; documents: what it learns without any, where a
  quarter of the covered documents ask the others; raw: translated scores as they are
- affine: translated scores replaced by the native score that a line expects for them
- RRF: reciprocal rank fusion of the native list and the translated one, 1 / (60 + rank)

Then a least score, set where half of the right answers pass it natively: of the hits that pass in
the mixed collection, how many pass natively (precision), and how many of the native ones still
pass (recall), with the offset and raw.

Usage: python benchmarks/merge.py --data FOLDER [--source NAME ...]
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from corpora.debian import QUERIES, SOURCES, Debian, K, ndcg, numbers
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import vecstore
from vecstore.hits import SearchResult
from vecstore_translators import Ridge, unit_rows
from vecstore_translators.crossfit import cross_fit
from vecstore_translators.evaluation import ndcg_at_k

RESULT = Path(__file__).parent / "results" / "merge.json"
ITEMS, FEW, HALF, SEED = 12_000, 500, 750, 0
COVERAGES = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90)
LENT, ASKED = slice(0, HALF), slice(HALF, QUERIES)
PASSED = ("hits", "precision", "recall")
METHODS = ("offset", "documents", "raw", "affine", "RRF")

Scores = NDArray[np.float32]
Rows = NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--source", nargs="+", choices=SOURCES, default=SOURCES)
    args = parser.parse_args()
    for source in args.source:
        run = measure(Debian(args.data, source))
        report = json.loads(RESULT.read_text()) if RESULT.exists() else {"runs": {}}
        machine = f"{platform.machine()}, Python {platform.python_version()}"
        report = {**report, "machine": machine, "seed": SEED}
        report["runs"][source] = run
        RESULT.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
        show(source, run)


def measure(data: Debian) -> dict[str, Any]:
    order = np.random.default_rng(SEED).permutation(ITEMS)
    with tempfile.TemporaryDirectory() as folder, vecstore.open(folder) as store:
        full = data.collection(store, "full", items=ITEMS, native=np.arange(ITEMS))
        native = full.search(data.queries[ASKED], space="new", k=K)
        answers = np.einsum("ij,ij->i", data.queries[ASKED], data.new[:QUERIES][ASKED])
        least = float(np.median(answers))
        found: dict[str, Any] = {"re-embed": ndcg(native, ASKED), "least score": least}
        for few in (False, True):
            docs = data.collection(store, f"mixed {few}", items=ITEMS, native=order[:0])
            found[f"{FEW} pairs" if few else "all pairs"] = [
                mixed(data, docs, order, coverage, native, least, few=few) for coverage in COVERAGES
            ]
    return found


def mixed(
    data: Debian,
    docs: vecstore.Collection,
    order: Rows,
    coverage: float,
    native: SearchResult,
    least: float,
    *,
    few: bool,
) -> dict[str, Any]:
    """Measure every way to merge at one coverage."""
    covered, asked = order[: round(coverage * ITEMS)], data.queries[ASKED]
    limit = {"max_pairs": FEW} if few else {}
    data.cover(docs, covered)
    row: dict[str, Any] = {"coverage": coverage}
    for name, lent in (("documents", None), ("offset", data.queries[LENT])):
        docs.fit_translator(source="old", target="new", family="ridge", queries=lent, **limit)
        row[name] = ndcg(docs.search(asked, space="new", k=K), ASKED)
        passed = numbers(docs.search(asked, space="new", k=K, min_score=least))
        row[f"{name} least"] = thresholds(passed, native, least)
        row[f"{name} learned"] = docs.translators[-1].report["offset"]
    # What the store does not do is worked out beside it, with a map fitted on as many pairs.
    pairs = np.random.default_rng(SEED).permutation(covered)[: FEW if few else ITEMS]
    X, Y = data.old[pairs], data.new[pairs]
    family = Ridge().tuned(X, Y, seed=SEED)
    translated = asked @ unit_rows(family.fit(X, Y).translate(data.old)).T
    truth, is_native = asked @ data.new.T, np.zeros(ITEMS, dtype=bool)
    is_native[covered] = True
    slope, intercept = line(family, X, Y, data.queries[LENT])
    raw = np.where(is_native, truth, translated)
    for name, scores in (
        ("raw", raw),
        ("affine", np.where(is_native, truth, slope * translated + intercept)),
        ("RRF", np.maximum(ranks(truth, is_native), ranks(translated, ~is_native))),
    ):
        ranking = best(scores, K)
        row[name] = float(ndcg_at_k(ranking, np.arange(QUERIES)[ASKED], K).mean())
    ranking = best(raw, K)
    passed = np.where(np.take_along_axis(raw, ranking, axis=1) >= least, ranking, -1)
    row["raw least"] = thresholds(passed, native, least)
    return row


def thresholds(passed: Rows, native: SearchResult, least: float) -> dict[str, float]:
    """Return precision and recall of hits above a score, natively being the truth."""
    truly = np.where(native.scores >= least, numbers(native), -1)
    both = sum(
        len(np.intersect1d(a[a >= 0], b[b >= 0])) for a, b in zip(passed, truly, strict=True)
    )
    hits, wanted = int((passed >= 0).sum()), int((truly >= 0).sum())
    return {"hits": hits / wanted, "precision": both / max(hits, 1), "recall": both / wanted}


def line(family: Ridge, X: Scores, Y: Scores, queries: Scores) -> tuple[float, float]:
    """Return the line that expects native scores from translated ones, on held-out pairs."""
    rows, translated = cross_fit(family, X, Y, seed=SEED)
    own, wanted = queries @ unit_rows(translated).T, queries @ Y[rows].T
    together = np.cov(own.ravel(), wanted.ravel(), dtype=np.float64)
    slope = float(together[0, 1] / together[0, 0])
    return slope, float(wanted.mean(dtype=np.float64) - slope * own.mean(dtype=np.float64))


def best(scores: Scores, k: int) -> Rows:
    """Return the k best documents of each query, best first."""
    found = np.argpartition(-scores, k, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def ranks(scores: Scores, mask: NDArray[np.bool_]) -> Scores:
    """Return reciprocal ranks among the documents of a mask, 0 beyond the first hundred."""
    first = best(np.where(mask, scores, np.float32(-9)), 100)
    found = np.zeros_like(scores)
    np.put_along_axis(found, first, (1 / (60 + np.arange(1, 101)))[None, :], axis=1)
    return found


def show(source: str, run: dict[str, Any]) -> None:
    """Print one old model's tables."""
    for pairs in ("all pairs", f"{FEW} pairs"):
        title = f"{source}, {pairs}; re-embed {run['re-embed']:.3f}"
        table = Table("coverage", *METHODS, "learned", "documents", title=title)
        least = Table("coverage", *(f"{m}: {w}" for m in METHODS[:3] for w in PASSED), title=title)
        for row in run[pairs]:
            coverage = f"{row['coverage']:.0%}"
            table.add_row(
                coverage,
                *(f"{row[method]:.3f}" for method in METHODS),
                *(f"{row[f'{method} learned']:+.3f}" for method in METHODS[:2]),
            )
            passed = [row[f"{method} least"] for method in METHODS[:3]]
            least.add_row(coverage, *(f"{p[what]:.2f}" for p in passed for what in PASSED))
        Console(width=150).print(table)
        Console(width=150).print(least)


if __name__ == "__main__":
    main()
