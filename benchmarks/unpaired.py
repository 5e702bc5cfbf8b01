"""Alignment without pairs on real embeddings: what is found, what is refused, and rightly so?

One model's vectors of 5,000 package descriptions, another's of 5,000 others, the latter under a
hidden random rotation so that no basis is shared by accident. 2,000 more are held out: the share
whose translation is nearest to its own native vector (top-1), the mean cosine, and nDCG@10 of
native new queries over translated documents. A map is judged also where the gate refuses it,
so that refusals of good maps would show (after one attempt, with the gate open), and next to
Procrustes fitted to pairs.

Usage: python benchmarks/unpaired.py --data FOLDER [--case OLD:NEW ...] [--seeds 0 ...]
       [--adversarial]
Results already in the JSON file are replaced case by case.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators import Procrustes, Translator, unit_rows
from vecstore_translators.errors import CouldNotAlignError
from vecstore_translators.evaluation import ndcg_at_k, top_k
from vecstore_translators.unpaired import Alignment, UnpairedAligner

RESULT = Path(__file__).parent / "results" / "unpaired.json"
CASES = ("minilm:minilm", "minilm-ft:minilm", "minilm-l4:minilm", "lsa256:minilm")
ROWS, CORPUS = 5000, 7000
OPEN = {"agreement": 1e-9, "structure": 1e-9}

Rows = NDArray[np.float32]


class Aligner(Protocol):
    def fit(self, X: ArrayLike, Y: ArrayLike, *, seed: int = 0) -> Alignment[Translator]: ...


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--case", nargs="+", default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--adversarial", action="store_true", help="the experimental translator")
    arguments = parser.parse_args()
    method = "adversarial" if arguments.adversarial else "mini-vec2vec"
    for case in arguments.case:
        for seed in arguments.seeds:
            run = measure(arguments.data / "debian" / "emb", case, seed, method)
            report = json.loads(RESULT.read_text()) if RESULT.exists() else {"runs": {}}
            report["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
            report["runs"][f"{method} {case} {seed}"] = run
            RESULT.parent.mkdir(exist_ok=True)
            RESULT.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
            print(f"{method} {case} seed {seed}: {json.dumps(run)}", flush=True)
    print(table(report["runs"]))


def measure(folder: Path, case: str, seed: int, method: str) -> dict[str, Any]:
    source, target = case.split(":")
    rng = np.random.default_rng(seed)
    dim = read(folder, "docs", target).shape[1]
    hidden = np.linalg.qr(rng.normal(size=(dim, dim)))[0].astype(np.float32)
    old, new = read(folder, "docs", source), read(folder, "docs", target) @ hidden
    queries = read(folder, "queries", target) @ hidden
    order = rng.permutation(len(old))
    here, there, probe = order[:ROWS], order[ROWS : 2 * ROWS], order[2 * ROWS :]

    def judge(translator: Translator) -> dict[str, float]:
        centre = new[there].mean(axis=0)
        found, wanted = translator.translate(old[probe]) - centre, new[probe] - centre
        nearest, _ = top_k(found, wanted, 1)
        ranking, _ = top_k(queries, translator.translate(old[:CORPUS]), 10)
        return {
            "top1": float(np.mean(nearest[:, 0] == np.arange(len(probe)))),
            "cosine": float(np.mean(np.sum(unit_rows(found) * unit_rows(wanted), axis=1))),
            "ndcg": float(ndcg_at_k(ranking, np.arange(len(queries)), 10).mean()),
        }

    began = time.process_time()
    run: dict[str, Any] = {
        "refused": False,
        "paired": judge(Procrustes().fit(old[here], new[here])),
    }
    try:
        alignment = aligner(method).fit(old[here], new[there], seed=seed)
    except CouldNotAlignError as error:
        run |= {"refused": True, "message": str(error)}
    run["cpu_seconds"] = time.process_time() - began
    if run["refused"]:
        try:
            alignment = aligner(method, **OPEN).fit(old[here], new[there], seed=seed)
        except CouldNotAlignError:
            return run
    evidence = alignment.evidence.to_dict()
    return {**run, "found": judge(alignment.translator), "evidence": evidence}


def aligner(method: str, **gate: Any) -> Aligner:
    if method == "adversarial":
        from vecstore_translators.experimental.vec2vec import AdversarialAligner

        return AdversarialAligner(**gate)
    return UnpairedAligner(**gate)


def read(folder: Path, part: str, generation: str) -> Rows:
    return unit_rows(np.load(folder / f"{part}.{generation}.f16.npy"))


def table(runs: dict[str, Any]) -> str:
    lines = [
        "| method, case, seed | answer | agreement | top-1 | cosine | nDCG@10 "
        "| with pairs: top-1, nDCG@10 | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, run in sorted(runs.items()):
        found = run.get("found", {"top1": np.nan, "cosine": np.nan, "ndcg": np.nan})
        lines.append(
            f"| {name} | {'refused' if run['refused'] else 'map'} "
            f"| {run.get('evidence', {}).get('agreement', np.nan):.3f} | {found['top1']:.3f} "
            f"| {found['cosine']:.3f} | {found['ndcg']:.3f} "
            f"| {run['paired']['top1']:.3f}, {run['paired']['ndcg']:.3f} "
            f"| {run['cpu_seconds']:.0f} |".replace("nan", "-")
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
