"""Forward translators on real embeddings: nDCG@10 of what selection picks, and of all it tried.

Old documents are mapped into the new model's space and searched exactly with native new
queries; nothing is re-embedded. Everything is fitted on pairs of documents with the role
`train`, which are neither searched nor asked for. Data: 12,000 package descriptions, 1,500
queries with one relevant document each, ranked against the 7,000 of the role `corpus`.

Next to the candidates stand the controls (old model kept, naive swap, wrongly paired rows) and,
where it is installed, the peer: `RidgeMapping` of isotrieve 0.4.0 (pip install isotrieve).

Usage: python benchmarks/translators.py --data FOLDER [--pairs 250 500 ...] [--source NAME ...]
Results already in the JSON file are replaced pair by pair, so that a run can be continued.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore_translators import (
    Ensemble,
    Kernel,
    LowRank,
    Mlp,
    TranslatorFamily,
    families,
    select_translator,
    unit_rows,
)
from vecstore_translators.evaluation import ndcg_at_k, overlap_at_k, top_k
from vecstore_translators.scoring import csls_top_k, hubness

RESULT = Path(__file__).parent / "results" / "translators.json"
SOURCES, TARGET = ("minilm-l4", "lsa256", "ft200"), "minilm"
PAIRS = (250, 500, 1000, 2000, 5000)
CORPUS, QUERIES, K, SEED = 7000, 1500, 10, 0
FLOORS = {"minilm-l4": 0.625, "lsa256": 0.365, "ft200": 0.405}
TOLERANCE = 0.01
MANY_PAIRS = 2000

Scores = dict[str, float]


def main() -> None:
    args = arguments()
    report = stored()
    for source in args.source:
        task = Task(args.data / "debian" / "emb", source)
        for pairs in args.pairs:
            run = measure(task, pairs, source)
            report = stored()
            report["runs"][f"{source} {pairs}"] = run
            print(f"\n{source} -> {TARGET}, {pairs} pairs\n{table(run)}", flush=True)
            RESULT.parent.mkdir(exist_ok=True)
            RESULT.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    print(f"\n{summary(report['runs'])}")


def stored() -> dict[str, Any]:
    """Return what the file holds by now, so that two runs can fill it at once."""
    report: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {"runs": {}}
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    return {**report, "machine": machine, "seed": SEED}


class Task:
    """One old model against the new one: the pairs, the documents, the queries and the truth."""

    def __init__(self, folder: Path, source: str) -> None:
        def read(part: str, generation: str) -> NDArray[np.float32]:
            return unit_rows(np.load(folder / f"{part}.{generation}.f16.npy"))

        self.old, self.new = read("docs", source), read("docs", TARGET)
        self.old_queries, self.queries = read("queries", source), read("queries", TARGET)
        self.native, _ = top_k(self.queries, self.new[:CORPUS], K)

    def judge(self, queries: NDArray[np.float32], documents: NDArray[np.float32]) -> Scores:
        ranking, _ = top_k(queries, documents, K)
        return {
            "ndcg": float(ndcg_at_k(ranking, np.arange(QUERIES), K).mean()),
            "overlap": float(overlap_at_k(ranking, self.native, K).mean()),
        }

    def judge_csls(self, documents: NDArray[np.float32], asked: NDArray[np.float32]) -> float:
        """Return the nDCG where hubs, as seen by the pairs' new vectors, are scored down."""
        hubs = hubness(documents, asked)
        ranking, _ = csls_top_k(self.queries, documents, K, document_hubness=hubs)
        return float(ndcg_at_k(ranking, np.arange(QUERIES), K).mean())


def candidates(pairs: int) -> list[TranslatorFamily]:
    chosen = [c for family in families().values() if family.by_default for c in family.candidates()]
    chosen.append(LowRank())
    # With few pairs training stops at once: the network is ridge, at many times the cost.
    if pairs >= MANY_PAIRS and importlib.util.find_spec("torch"):
        chosen += [Mlp(), Ensemble(members=(Kernel(), Mlp()))]
    return chosen


def measure(task: Task, pairs: int, source: str) -> dict[str, Any]:
    X, Y = task.old[CORPUS : CORPUS + pairs], task.new[CORPUS : CORPUS + pairs]
    corpus = task.old[:CORPUS]
    folds = 2 if pairs >= MANY_PAIRS else 5
    selection = select_translator(X, Y, families=candidates(pairs), folds=folds, seed=SEED)
    rows = {}
    for candidate in selection.candidates:
        began = time.perf_counter()
        translator = candidate.tuned.fit(X, Y, seed=SEED)
        fitted = time.perf_counter() - began
        label = candidate.family.label
        mapped = translator.translate(corpus)
        rows[label if label.startswith("procrustes") else candidate.family.name] = {
            **task.judge(task.queries, mapped),
            "ndcg_csls": task.judge_csls(mapped, Y),
            "held_out": candidate.score,
            "behind_best": candidate.behind_best,
            "behind_best_error": candidate.behind_best_error,
            "selected": candidate.family == selection.family,
            "tuned": candidate.tuned.label,
            "seconds": candidate.seconds,
            "fit_seconds": fitted,
            "peak_mb": candidate.peak_bytes / 2**20,
        }
    own = next(row for row in rows.values() if row["selected"])
    wrong = np.random.default_rng(SEED).permutation(pairs)
    shuffled = next(c.tuned for c in selection.candidates if c.family.name == "ridge")
    controls = {
        "new model, all re-embedded": task.judge(task.queries, task.new[:CORPUS]),
        "old model kept": task.judge(task.old_queries, corpus),
        "ridge on wrongly paired rows": task.judge(
            task.queries, shuffled.fit(X, Y[wrong], seed=SEED).translate(corpus)
        ),
    }
    if task.old.shape[1] == task.new.shape[1]:
        controls["naive swap"] = task.judge(task.queries, corpus)
    if importlib.util.find_spec("isotrieve"):
        controls["isotrieve 0.4.0 RidgeMapping"] = task.judge(task.queries, peer(X, Y, corpus))
    best = max(row["ndcg"] for row in rows.values())
    return {
        "candidates": rows,
        "controls": controls,
        "selected": own,
        "behind_best_on_test": best - own["ndcg"],
        "seconds": selection.seconds,
        "holds": own["ndcg"] >= best - TOLERANCE
        and (pairs != max(PAIRS) or own["ndcg"] >= FLOORS[source]),
    }


def peer(
    X: NDArray[np.float32], Y: NDArray[np.float32], corpus: NDArray[np.float32]
) -> NDArray[np.float32]:
    from isotrieve.mapping.linear import RidgeMapping

    fitted = RidgeMapping(seed=SEED).fit(X, Y)
    mapped: NDArray[np.float32] = np.asarray(fitted.transform(corpus), dtype=np.float32)
    return mapped


def table(run: dict[str, Any]) -> str:
    lines = [
        "| method | nDCG@10 | with CSLS | overlap@10 | held out | seconds | MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in sorted(run["candidates"].items(), key=lambda item: -item[1]["ndcg"]):
        mark = " (selected)" if row["selected"] else ""
        lines.append(
            f"| {name}{mark} | {row['ndcg']:.3f} | {row['ndcg_csls']:.3f} "
            f"| {row['overlap']:.3f} | {row['held_out']:.3f} "
            f"| {row['seconds']:.1f} | {row['peak_mb']:.0f} |"
        )
    for name, row in run["controls"].items():
        lines.append(f"| *{name}* | {row['ndcg']:.3f} | | {row['overlap']:.3f} | | | |")
    return "\n".join(lines)


def summary(runs: dict[str, Any]) -> str:
    lines = [
        "| source | pairs | selected | nDCG@10 | with CSLS | overlap@10 | best on test | peer "
        "| holds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for source in SOURCES:
        for pairs in PAIRS:
            run = runs.get(f"{source} {pairs}")
            if run is None:
                continue
            name = next(k for k, row in run["candidates"].items() if row["selected"])
            best = max(run["candidates"].items(), key=lambda item: item[1]["ndcg"])
            other = run["controls"].get("isotrieve 0.4.0 RidgeMapping")
            lines.append(
                f"| {source} | {pairs:,} | {name} | {run['selected']['ndcg']:.3f} "
                f"| {format(run['selected'].get('ndcg_csls', float('nan')), '.3f')} "
                f"| {run['selected']['overlap']:.3f} | {best[0]} {best[1]['ndcg']:.3f} "
                f"| {format(other['ndcg'], '.3f') if other else ''} "
                f"| {'yes' if run['holds'] else 'no'} |"
            )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds debian/emb")
    parser.add_argument("--pairs", type=int, nargs="+", default=PAIRS)
    parser.add_argument("--source", nargs="+", default=SOURCES, choices=SOURCES)
    return parser.parse_args()


if __name__ == "__main__":
    main()
