"""What uncertainty and drift detection are worth on real embeddings.

Uncertainty: 5,000 and 500 pairs, ridge (penalty chosen by held-out retrieval on the pairs),
exact search of 600 real queries over 7,000 translated documents. A hit is wrong if it is not
among the new model's own ten. AUROC of several doubts, and whether the probabilities are right:
their mean against the share of wrong hits, and the standard error against what scores of random
documents and of hits really miss.

Drift: pairs and in-domain batches from Debian package descriptions, foreign batches from
Wikipedia paragraphs (SQuAD) by the same model. False alarms are counted over 200 batches of
other Debian documents. The LSA row is another LSA model of the same
dimension, fitted on the paragraphs: no domain drift but a wrong space, which should be seen too.

Usage: python benchmarks/uncertainty.py --data FOLDER
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from vecstore_translators import Ridge, unit_rows
from vecstore_translators.drift import measure_drift
from vecstore_translators.evaluation import auroc, top_k
from vecstore_translators.reference import PairReference
from vecstore_translators.uncertainty import TranslationUncertainty

RESULT = Path(__file__).parent / "results" / "uncertainty.json"
SOURCES, TARGET = ("minilm-l4", "lsa256", "ft200"), "minilm"
CORPUS, QUERIES, K, DEPTH = 7000, 600, 10, 100
BATCHES = 200


def main() -> None:
    args = arguments()
    report = {
        "hits": [judge_hits(args.data, s, n) for s in SOURCES for n in (5000, 500)],
        "drift": [
            judge_drift(args.data, model, n)
            for model in ("minilm", "minilm-l4", "minilm-ft", "lsa256")
            for n in (250, 2000)
        ],
        "cost": cost(),
    }
    print(json.dumps(report["cost"]))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")


def read(data: Path, dataset: str, part: str, model: str) -> np.ndarray:
    return unit_rows(np.load(data / dataset / "emb" / f"{part}.{model}.f16.npy"))


def judge_hits(data: Path, source: str, pairs: int) -> dict[str, Any]:
    X, Y = read(data, "debian", "docs", source), read(data, "debian", "docs", TARGET)
    queries = read(data, "debian", "queries", TARGET)[:QUERIES]
    chosen, corpus = slice(CORPUS, CORPUS + pairs), slice(0, CORPUS)
    alpha = Ridge().fit(X[chosen], Y[chosen]).hyperparameters["alpha"]
    family = Ridge(alphas=(alpha,))
    model = TranslationUncertainty.fit(family, X[chosen], Y[chosen])
    translated = family.fit(X[chosen], Y[chosen]).translate(X[corpus])
    h = model.spread(X[corpus], translated)
    rows, scores = top_k(queries, translated, DEPTH)
    native, _ = top_k(queries, Y[corpus], K)
    wrong = ~(rows[:, :K, np.newaxis] == native[:, np.newaxis]).any(axis=2)
    doubts = model.doubts(queries, scores, h[rows], K)
    first = scores[:, :K]
    every = {
        "probability of being wrong": doubts.wrong,
        "margin to hit k + 1, in standard errors": -(first - scores[:, K : K + 1])
        / doubts.standard_error,
        "margin to hit k + 1": -(first - scores[:, K : K + 1]),
        "rank": np.broadcast_to(np.arange(K), first.shape),
        "score": -first,
        "spread of the document": h[rows[:, :K]],
        "random": np.random.default_rng(0).random(first.shape),
    }
    u = unit_rows(translated)
    truth = np.einsum("qd,qkd->qk", queries, Y[corpus][rows[:, :K]])
    missed = (truth - first) / doubts.standard_error
    anyone = np.random.default_rng(1).integers(CORPUS, size=(QUERIES, 50))
    gap = np.einsum("qd,qkd->qk", queries, Y[corpus][anyone] - u[anyone])
    z = gap / model.standard_error(queries, h[anyone])
    sizes = np.sum((Y[corpus] - u) ** 2, axis=1)
    share = wrong.mean(axis=1)
    result = {
        "models": f"{source} -> {TARGET}",
        "pairs": pairs,
        "share_wrong": float(wrong.mean()),
        "predicted_wrong": float(doubts.wrong.mean()),
        "auroc": {name: auroc(values, wrong) for name, values in every.items()},
        "query_rank_correlation": rank_correlation(1 - doubts.expected_overlap, share),
        "bins": bins(doubts.wrong, wrong),
        "random_documents_within_1.96": float(np.mean(np.abs(z) < 1.96)),
        "random_documents_sd": float(z.std()),
        "hits_mean": float(missed.mean()),
        "hits_sd": float(missed.std()),
        "spread_rank_correlation": rank_correlation(h, sizes),
    }
    print(
        f"\n{result['models']}, {pairs} pairs: {result['share_wrong']:.3f} of hits wrong, "
        f"{result['predicted_wrong']:.3f} predicted"
    )
    for name, value in result["auroc"].items():
        print(f"  AUROC {value:.3f}  {name}")
    print(f"  by predicted probability (predicted, true, hits): {result['bins']}")
    print(
        f"  standard error: random documents within 1.96: "
        f"{result['random_documents_within_1.96']:.3f}; hits miss by "
        f"{result['hits_mean']:+.2f} ± {result['hits_sd']:.2f} of it; query rank correlation "
        f"{result['query_rank_correlation']:.2f}; spread {result['spread_rank_correlation']:.2f}",
        flush=True,
    )
    return result


def judge_drift(data: Path, model: str, pairs: int) -> dict[str, Any]:
    own, foreign = read(data, "debian", "docs", model), read(data, "squad", "docs", model)
    reference = PairReference.fit(own[CORPUS : CORPUS + pairs])
    rng = np.random.default_rng(0)
    result: dict[str, Any] = {"model": model, "pairs": pairs}
    for size in (50, 500):
        alarms = caught = 0
        for _ in range(BATCHES):
            alarms += measure_drift(reference, own[rng.permutation(CORPUS)[:size]]).drifted
            caught += measure_drift(
                reference, foreign[rng.permutation(len(foreign))[:size]]
            ).drifted
        result[f"false_alarms_{size}"] = alarms / BATCHES
        result[f"caught_{size}"] = caught / BATCHES
    inside = measure_drift(reference, own[:CORPUS])
    outside = measure_drift(reference, foreign)
    result |= {
        "share_far_inside": inside.share_far,
        "share_far_outside": outside.share_far,
        "separation_inside": inside.separation,
        "separation_outside": outside.separation,
    }
    print(
        "drift "
        + "  ".join(
            f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in result.items()
        ),
        flush=True,
    )
    return result


def cost() -> dict[str, float]:
    """Time drift and spread for 100,000 vectors against translating them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100_000, 384), dtype=np.float32)
    pairs = X[:5000], X[:5000, :256].copy()
    family = Ridge(alphas=(0.1,))
    model = TranslationUncertainty.fit(family, *pairs)
    translator = family.fit(*pairs)
    seconds = {}
    translated = translator.translate(X)
    for name, call in (
        ("translate", lambda: translator.translate(X)),
        ("measure_drift", lambda: measure_drift(model.reference, X)),
        ("spread", lambda: model.spread(X, translated)),
    ):
        runs = []
        for _ in range(3):
            start = time.perf_counter()
            call()
            runs.append(time.perf_counter() - start)
        seconds[f"{name}_seconds"] = min(runs)
    return seconds


def bins(probability: np.ndarray, wrong: np.ndarray) -> list[tuple[float, float, int]]:
    place = np.minimum((probability * 5).astype(int), 4)
    return [
        (
            round(float(probability[place == i].mean()), 2),
            round(float(wrong[place == i].mean()), 2),
            int((place == i).sum()),
        )
        for i in range(5)
        if (place == i).any()
    ]


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Spearman's, with mean ranks for ties."""
    ranks = []
    for values in (left, right):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[inverse])
    return float(np.corrcoef(*ranks)[0, 1])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
