"""A chain of fits against a direct fit, and what each hop loses, on real embeddings.

Three models in a row, 2,000 pairs for each hop, of different items; the direct fit has 2,000
pairs of its own. Candidates of every fit: centred and uncentred Procrustes, and ridge. Overlap@10
with the last model's own answers of 600 real queries over 7,000 documents none of the fits saw,
by exact search. `unit between` scales vectors to unit length between the hops, which the second
hop was fitted on and which no single matrix does.

Usage: python benchmarks/chaining.py --data FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from vecstore_translators import Procrustes, Ridge, select_translator, unit_rows
from vecstore_translators.chaining import fit_chain, measure_chain
from vecstore_translators.evaluation import overlap_at_k, paired_bootstrap, top_k

RESULT = Path(__file__).parent / "results" / "chaining.json"
ROUTES = (
    ("minilm-l4", "minilm", "minilm-ft"),
    ("ft200", "minilm", "minilm-ft"),
    ("lsa256", "ft200", "minilm"),
)
CORPUS, PAIRS, QUERIES, K = 7000, 2000, 600, 10
FAMILIES = (Procrustes(), Procrustes(center=False), Ridge())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data / "debian" / "emb"
    runs = [measure(folder, route) for route in ROUTES]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"pairs_per_fit": PAIRS, "runs": runs}, indent=1) + "\n")


def measure(folder: Path, route: tuple[str, ...]) -> dict[str, Any]:
    spaces = [unit_rows(np.load(folder / f"docs.{model}.f16.npy")) for model in route]
    queries = unit_rows(np.load(folder / f"queries.{route[-1]}.f16.npy"))[:QUERIES]
    first, second = slice(CORPUS, CORPUS + PAIRS), slice(CORPUS + PAIRS, CORPUS + 2 * PAIRS)
    fit = fit_chain(
        [(spaces[0][first], spaces[1][first]), (spaces[1][second], spaces[2][second])],
        families=FAMILIES,
    )
    direct = select_translator(spaces[0][first], spaces[2][first], families=FAMILIES)
    corpus = [space[:CORPUS] for space in spaces]
    hops = [selection.translator for selection in fit.hops]
    loss = measure_chain(hops, corpus, queries, k=K)
    native, _ = top_k(queries, corpus[2], K)
    between = unit_rows(hops[0].translate(corpus[0]))
    values = {
        "chain": fit.translator.translate(corpus[0]),
        "unit between": hops[1].translate(between),
        "direct": direct.translator.translate(corpus[0]),
    }
    overlap = {
        name: overlap_at_k(top_k(queries, vectors, K)[0], native, K)
        for name, vectors in values.items()
    }
    gain = paired_bootstrap(overlap["direct"], overlap["chain"])
    kept, _ = top_k(
        unit_rows(np.load(folder / f"queries.{route[0]}.f16.npy"))[:QUERIES], corpus[0], K
    )
    run = {
        "route": " -> ".join(route),
        "families": [s.family.label for s in fit.hops] + [direct.family.label],
        "old_kept": float(overlap_at_k(kept, native, K).mean()),
        **{name: float(each.mean()) for name, each in overlap.items()},
        "loss_of_hops": [hop.mean for hop in loss.hops],
        "direct_over_chain": [gain.mean, gain.low, gain.high],
    }
    print(
        f"{run['route']}: chain {run['chain']:.3f} (lost by hop: "
        + ", ".join(f"{hop}" for hop in loss.hops)
        + f"), unit between {run['unit between']:.3f}, direct {run['direct']:.3f}, "
        f"direct over chain {gain}, old model kept {run['old_kept']:.3f}; {run['families']}",
        flush=True,
    )
    return run


if __name__ == "__main__":
    main()
