"""Predicted against achieved overlap@10, over pairs of models and numbers of pairs.

For every run some hundreds or thousands of pairs are drawn, `predict_quality` is asked what the
translated corpus will reach, and then the corpus is translated, its new vectors are looked at,
and the overlap with a full re-embed is measured by exact search with 600 other real queries.
Two ways of asking: with 300 real queries at hand, and with held-out documents instead. Beside it
stands what one would naively report: the overlap within the pool of held-out pairs.

The model error of the interval was set on three of these model pairs (`set on` in the table);
the others show what it covers elsewhere. Family: ridge, its penalty chosen once per run by
held-out retrieval on the pairs.

Usage: python benchmarks/predicted_quality.py --data FOLDER [--pairs 250 500 ...] [--draws 2]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from vecstore_translators import Ridge, unit_rows
from vecstore_translators.evaluation import overlap_at_k, top_k
from vecstore_translators.prediction import predict_quality

RESULT = Path(__file__).parent / "results" / "predicted_quality.json"
K, AT_HAND, JUDGED = 10, 300, 600
SET_ON = (
    ("debian", "minilm-l4", "minilm"),
    ("debian", "lsa256", "minilm"),
    ("debian", "ft200", "minilm"),
)
ELSEWHERE = (
    ("debian", "minilm", "minilm-l4"),
    ("debian", "minilm", "ft200"),
    ("debian", "ft200", "minilm-ft"),
    ("squad", "minilm-l4", "minilm"),
    ("squad", "minilm", "minilm-l4"),
)
SIZES = (250, 500, 1000, 2000, 5000)


def main() -> None:
    args = arguments()
    runs: list[dict[str, Any]] = []
    for dataset, source, target in (*SET_ON, *ELSEWHERE):
        X, Y, queries, train, corpus = read(args.data / dataset / "emb", dataset, source, target)
        for pairs in args.pairs:
            if pairs > len(train):
                continue
            for draw in range(args.draws):
                chosen = np.random.default_rng(draw).permutation(train)[:pairs]
                left = corpus if dataset == "debian" else np.setdiff1d(corpus, chosen)
                runs += measure(X, Y, queries, chosen, left, draw)
                for run in runs[-2:]:
                    run |= {"models": f"{dataset} {source} -> {target}", "pairs": pairs}
                    run["set_on"] = (dataset, source, target) in SET_ON
                    print(line(run), flush=True)
    report: dict[str, Any] = {
        "runs": runs,
        "summary": {name: summary(part) for name, part in split(runs).items()},
    }
    for name, values in report["summary"].items():
        print(f"{name:44}" + "".join(f"{key} {value:.3f}  " for key, value in values.items()))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")


def read(folder: Path, dataset: str, source: str, target: str) -> tuple[np.ndarray, ...]:
    """Return both models' documents, the new model's queries, and rows to fit on and to search."""
    X, Y, queries = (
        unit_rows(np.load(folder / f"{part}.{model}.f16.npy"))
        for part, model in (("docs", source), ("docs", target), ("queries", target))
    )
    if dataset == "debian":
        return X, Y, queries, np.arange(7000, 12_000), np.arange(7000)
    # The other set has no rows put aside: pairs are drawn from a third, the rest is searched.
    order = np.random.default_rng(0).permutation(len(X))
    return X, Y, queries, order[:700], np.sort(order)


def measure(X, Y, queries, chosen, corpus, draw: int) -> list[dict[str, Any]]:
    alpha = Ridge().fit(X[chosen], Y[chosen]).hyperparameters["alpha"]
    family = Ridge(alphas=(alpha,))
    asked = np.random.default_rng(draw + 100).permutation(len(queries))
    judged = queries[asked[AT_HAND : AT_HAND + JUDGED]]
    translated = family.fit(X[chosen], Y[chosen]).translate(X[corpus])
    ranking, _ = top_k(judged, translated, K)
    native, _ = top_k(judged, Y[corpus], K)
    achieved = float(overlap_at_k(ranking, native, K).mean())
    runs = []
    for asking, given in (("queries", queries[asked[:AT_HAND]]), ("documents", None)):
        predicted = predict_quality(
            family, X[chosen], Y[chosen], X[corpus], queries=given, seed=draw
        )
        runs.append(
            {
                "asking": asking,
                "achieved": achieved,
                "predicted": predicted.overlap.mean,
                "low": predicted.overlap.low,
                "high": predicted.overlap.high,
                "held_out": predicted.held_out,
                "model_alone": predicted.modelled,
                "documents": len(corpus),
            }
        )
    return runs


def split(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {
        f"{'set on' if set_on else 'elsewhere'}, {asking} ask, {name} pairs": part
        for set_on in (True, False)
        for asking in ("queries", "documents")
        for name, few in (("250-500", True), ("1000-5000", False))
        if (
            part := [
                r
                for r in runs
                if r["set_on"] is set_on and r["asking"] == asking and (r["pairs"] <= 500) is few
            ]
        )
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    def error(key: str) -> float:
        return float(np.mean([abs(r[key] - r["achieved"]) for r in runs]))

    return {
        "runs": len(runs),
        "mean error": error("predicted"),
        "of the pool's own overlap": error("held_out"),
        "of the model alone": error("model_alone"),
        "covered by 95 %": float(np.mean([r["low"] <= r["achieved"] <= r["high"] for r in runs])),
        "mean width": float(np.mean([r["high"] - r["low"] for r in runs])),
    }


def line(run: dict[str, Any]) -> str:
    inside = "" if run["low"] <= run["achieved"] <= run["high"] else "  outside"
    return (
        f"{run['models']:32}{run['pairs']:6} {run['asking']:10} pool {run['held_out']:.3f}  "
        f"predicted {run['predicted']:.3f} [{run['low']:.3f}, {run['high']:.3f}]  "
        f"achieved {run['achieved']:.3f}{inside}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, nargs="+", default=SIZES)
    parser.add_argument("--draws", type=int, default=2, help="of pairs and queries, per size")
    return parser.parse_args()


if __name__ == "__main__":
    main()
