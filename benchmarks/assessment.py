"""An assessment on a sample against the same options measured on the whole collection.

For each old model: 7,000 documents by it alone, 500 pairs beside them, judged queries. Every
option is measured once over all documents (the same searches as the store makes, see
tests/vecstore/test_assess_agreement.py) and once by `assess_upgrade` as it comes, whose sample is
a fifth. Two simpler samples stand beside it: one that counts only itself when it makes shortlists,
and one of answers and random documents. `regret` is how much better than the recommended option
the best one is on the whole collection.

Usage: python benchmarks/assessment.py --data FOLDER [--seeds 2]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq

import vecstore
from vecstore_ingest import LookupEncoder

RESULT = Path(__file__).parent / "results" / "assessment.json"
MODELS = ("minilm-l4", "lsa256", "ft200")
NEW, CORPUS, PAIRS = "minilm", 7_000, 500
SHOWN = ("stay+lexical", "forward", "forward+lexical", "cascade@20", "cascade@50", "re-embed")
# What is taken away from the assessment, by the name of the variant.
VARIANTS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "no outside": {"vecstore.upgrade.tables._MOST_OUTSIDE": 0},
    "random": {
        "vecstore.upgrade.tables._MOST_OUTSIDE": 0,
        "vecstore.upgrade.pool._rankings": lambda *_, **__: [],
    },
}


def main() -> None:
    args = arguments()
    runs: list[dict[str, Any]] = []
    for model in MODELS:
        with tempfile.TemporaryDirectory() as folder, vecstore.open(folder) as store:
            docs, how = collection(store, args.data / "debian", model)
            whole = assessed(docs, how, sample=CORPUS, seed=0)
            show(model, "whole", 0, whole, None)
            for variant, changes in VARIANTS.items():
                for seed in range(args.seeds):
                    with ExitStack() as stack:
                        for name, value in changes.items():
                            stack.enter_context(patch(name, value))
                        found = assessed(docs, how, sample=None, seed=seed)
                    regret = max(whole["figures"].values()) - whole["figures"][found["option"]]
                    run = {"model": model, "variant": variant, "seed": seed, "regret": regret}
                    runs.append(run | found | {"whole": whole["figures"]})
                    show(model, variant, seed, found, regret)
    for variant in VARIANTS:
        mine = [run for run in runs if run["variant"] == variant]
        errors = [
            abs(share(run["figures"], name) - share(run["whole"], name))
            for run in mine
            for name in run["figures"]
        ]
        worst = max(run["regret"] for run in mine)
        print(
            f"{variant:12} mean error of retention {np.mean(errors):.3f}, worst regret {worst:.3f}"
        )
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(runs, indent=1) + "\n")


def share(figures: dict[str, float], name: str) -> float:
    """Return an option's share of the full re-embed, with words if it has them."""
    return figures[name] / figures["re-embed+lexical" if "+lexical" in name else "re-embed"]


def collection(
    store: vecstore.Store, data: Path, model: str
) -> tuple[vecstore.Collection, dict[str, Any]]:
    """Return a collection of the corpus, and the arguments of its assessment."""
    texts = pq.read_table(data / "docs.parquet").column("text").to_pylist()
    asked = pq.read_table(data / "queries.parquet").column("text").to_pylist()
    old, new = vectors(data, "docs", model), vectors(data, "docs", NEW)
    rows = CORPUS + PAIRS
    ids = [str(row) for row in range(rows)]
    docs = store.create_collection(model)
    docs.create_space("old", dim=old.shape[1], model=model)
    docs.create_space("new", dim=new.shape[1], model=NEW, supersedes="old")
    docs.upsert(
        ids=ids, vectors={"old": old[:rows]}, documents=texts[:rows],
        metadata={"row": np.arange(rows)},
    )  # fmt: skip
    docs.add_vectors(ids=ids[CORPUS:], vectors=new[CORPUS:rows], space="new")
    queries = {"old": vectors(data, "queries", model), "new": vectors(data, "queries", NEW)}
    return docs, {
        "queries": {**queries, "text": asked},
        "qrels": [str(row) for row in range(len(asked))],
        "encoder": LookupEncoder(name=NEW, texts=texts, vectors=new),
        "where": f"row < {CORPUS}",
    }


def vectors(data: Path, kind: str, model: str) -> np.ndarray:
    rows = np.load(data / "emb" / f"{kind}.{model}.f16.npy").astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def assessed(
    docs: vecstore.Collection, how: dict[str, Any], *, sample: int | None, seed: int
) -> dict[str, Any]:
    found = docs.assess_upgrade(
        source="old", target="new", family="ridge", commit=False, sample=sample, seed=seed, **how
    )
    return {
        "figures": {option.name: option.quality.mean for option in found.options},
        "option": found.recommendation.option,
        "sample": found.sample,
        "queries": found.queries,
        "seconds": found.seconds,
    }


def show(model: str, variant: str, seed: int, found: dict[str, Any], regret: float | None) -> None:
    figures = "  ".join(f"{name} {found['figures'][name]:.3f}" for name in SHOWN)
    end = "" if regret is None else f", regret {regret:.3f}"
    print(f"{model:10}{variant:12}{seed:2} {figures}  -> {found['option']}{end}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2, help="samples of each kind")
    return parser.parse_args()


if __name__ == "__main__":
    main()
