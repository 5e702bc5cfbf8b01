"""One index for two generations: what a basis transformation gives, nDCG@10 on real embeddings.

Fitted on the 5,000 package descriptions of the role `train`; 1,500 queries search the 7,000 of
the role `corpus`, which are all old, all new, or half of each at random. `new/old` reads: new
queries over old documents.

Usage: python benchmarks/basis_transformation.py --data FOLDER
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vecstore_translators import BasisTransformation, unit_rows
from vecstore_translators.evaluation import ndcg_at_k, top_k

RESULT = Path(__file__).parent / "results" / "basis_transformation.json"
SOURCES, TARGET, CORPUS, SEED = ("minilm-l4", "lsa256", "ft200"), "minilm", 7000, 0

Rows = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data / "debian" / "emb"
    runs = {
        f"{source}, {'centred' if center else 'zero-padded'}": measure(folder, source, center)
        for source in SOURCES
        for center in (False, True)
    }
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    RESULT.parent.mkdir(exist_ok=True)
    report = {"machine": machine, "seed": SEED, "runs": runs}
    RESULT.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    names = list(next(iter(runs.values())))
    print("| old model | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for source, run in runs.items():
        print(f"| {source} | " + " | ".join(f"{run[name]:.3f}" for name in names) + " |")


def measure(folder: Path, source: str, center: bool) -> dict[str, float]:
    old, new = read(folder, "docs", source), read(folder, "docs", TARGET)
    asked_old, asked_new = read(folder, "queries", source), read(folder, "queries", TARGET)
    basis = BasisTransformation.fit(old[CORPUS:], new[CORPUS:], center=center)
    old_docs = basis.old.translate(old[:CORPUS])
    new_docs = basis.new.translate(new[:CORPUS])
    migrated = np.random.default_rng(SEED).random(CORPUS) < 0.5
    mixed = np.where(migrated[:, np.newaxis], unit_rows(new_docs), unit_rows(old_docs))
    queries = {"old": basis.old.translate(asked_old), "new": basis.new.translate(asked_new)}
    return {
        "old model alone": quality(asked_old, old[:CORPUS]),
        "old/old": quality(queries["old"], old_docs),
        "new/old": quality(queries["new"], old_docs),
        "new/half": quality(queries["new"], mixed),
        "old/half": quality(queries["old"], mixed),
        "new/new": quality(queries["new"], new_docs),
    }


def quality(queries: Rows, documents: Rows) -> float:
    ranking, _ = top_k(queries, documents, 10)
    return float(ndcg_at_k(ranking, np.arange(len(queries)), 10).mean())


def read(folder: Path, part: str, generation: str) -> Rows:
    return unit_rows(np.load(folder / f"{part}.{generation}.f16.npy"))


if __name__ == "__main__":
    main()
