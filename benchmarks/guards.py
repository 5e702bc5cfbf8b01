"""Guards on real embeddings: what is refused, warned of and let in, by the rules that writes obey.

Each space is learned from a random half of its documents (at most 1,024, as the store does), and
batches of the other half, of other models' vectors for it and of another domain are held against
it. Prints tables in Markdown, writes benchmarks/results/guards.json.

Usage: python benchmarks/guards.py --data FOLDER [--batches 200] [--ingest-rows 20000]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import vecstore
from vecstore_translators import Ridge, unit_rows
from vecstore_translators.evaluation.discrimination import auroc
from vecstore_translators.matching import Contrast, match_batch, recognise
from vecstore_translators.signature import SpaceSignature

RESULT = Path(__file__).parent / "results" / "guards.json"
SIZES, LEARNED, FEW = (1, 10, 50, 500), 1024, 100
KINDS = ("refused", "warned", "silent")
CORPORA = ("debian", "squad")

Rows = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--ingest-rows", type=int, default=20_000)
    arguments = parser.parse_args()
    began = time.perf_counter()
    pairs = [
        *corpora(arguments.data, arguments.batches, LEARNED),
        *corpora(arguments.data, arguments.batches, FEW),
        *published(arguments.data, arguments.batches),
    ]
    report = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "batches": arguments.batches,
        "pairs": pairs,
        "groups": grouped(pairs),
        "separation": separation(arguments.data, arguments.batches),
        "first batch": first_batches(arguments.data, arguments.batches),
        "odd": odd_batches(arguments.data, arguments.batches),
        "cost": cost(arguments.data, arguments.ingest_rows),
    }
    report["seconds"] = round(time.perf_counter() - began)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")
    show(report)


# Whose vectors, held against what


def corpora(folder: Path, batches: int, learned: int) -> list[dict[str, Any]]:
    """Hold every generation's vectors against every space of its dimension."""
    rows = []
    for corpus in CORPORA:
        spaces = {name: read(folder, corpus, "docs", name) for name in generations(folder, corpus)}
        known = {name: learn(vectors, learned) for name, vectors in spaces.items()}
        elsewhere = next(name for name in CORPORA if name != corpus)
        for own, (signature, held_out) in known.items():
            peers = {
                name: Contrast.between(signature, other)
                for name, (other, _) in known.items()
                if name != own and other.dim == signature.dim
            }

            def add(what: str, of: str, vectors: Rows, contrasts: dict[str, Contrast]) -> None:
                found = rates(vectors, signature, contrasts, batches)  # noqa: B023
                named = {"space": f"{corpus} {own}", "learned": learned}  # noqa: B023
                rows.append(named | {"of": of, "what": what, "rates": found})

            add("right", own, held_out, peers)
            if own in generations(folder, elsewhere) and peers:
                add("right, other domain", own, read(folder, elsewhere, "docs", own), peers)
            add("right, queries", own, read(folder, corpus, "queries", own), peers)
            for other, contrast in peers.items():
                kind = "unrelated" if contrast.strangers else "relative"
                vectors = known[other][1]
                add(f"wrong, {kind}", other, vectors, peers)
                away = read(folder, elsewhere, "docs", other)
                add(f"wrong, {kind}, other domain", other, away, peers)
                add(f"wrong, {kind} and not in the store", other, vectors, {})
    return rows


def published(folder: Path, batches: int) -> list[dict[str, Any]]:
    """Hold vectors of 13 published models of the same 250 texts against each other."""
    with np.load(folder / "real_models" / "guideline250_13models.npz") as file:
        models = {name: file[name].astype(np.float32) for name in file.files}
    known = {name: learn(vectors, 125) for name, vectors in models.items()}
    rows = []
    for own, (signature, held_out) in known.items():
        peers = {
            name: Contrast.between(signature, other)
            for name, (other, _) in known.items()
            if name != own and other.dim == signature.dim
        }
        named = {"space": own, "learned": 125}
        found = rates(held_out, signature, peers, batches)
        rows.append(named | {"of": own, "what": "published, right", "rates": found})
        for other, contrast in peers.items():
            kind = "unrelated" if contrast.strangers else "relative"
            found = rates(known[other][1], signature, peers, batches)
            rows.append(named | {"of": other, "what": f"published, wrong, {kind}", "rates": found})
    return rows


def rates(
    vectors: Rows, own: SpaceSignature, contrasts: dict[str, Contrast], batches: int
) -> dict[str, list[float]]:
    """Return the shares refused, warned of and let in silently, by batch size."""
    found = {}
    for size in SIZES:
        if size > len(vectors):
            continue
        said = [
            verdict(match_batch(batch, own, contrasts).finding)
            for batch in drawn(vectors, size, batches)
        ]
        found[str(size)] = [said.count(kind) / len(said) for kind in KINDS]
    return found


def verdict(finding: str) -> str:
    return {"belongs": "refused", "fits": "silent"}.get(finding, "warned")


def grouped(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Average over the spaces of each kind of case."""
    keys = dict.fromkeys((row["what"], row["learned"]) for row in pairs)
    groups = []
    for what, learned in keys:
        of_kind = [r["rates"] for r in pairs if (r["what"], r["learned"]) == (what, learned)]
        mean = {
            size: np.mean([found[size] for found in of_kind if size in found], axis=0).tolist()
            for size in map(str, SIZES)
            if any(size in found for found in of_kind)
        }
        groups.append({"what": what, "learned": learned, "cases": len(of_kind), "rates": mean})
    return groups


def separation(folder: Path, batches: int) -> list[dict[str, Any]]:
    """AUROC of the two statistics, wrong batches against right ones, of single vectors and tens."""
    rows = []
    for corpus, elsewhere in permutations(CORPORA):
        names = ("minilm", "minilm-l4", "minilm-ft")
        known = {name: learn(read(folder, corpus, "docs", name), LEARNED) for name in names}
        for own, other in permutations(names, 2):
            signature, right = known[own]
            contrast = Contrast.between(signature, known[other][0])
            away = read(folder, elsewhere, "docs", own)
            row: dict[str, Any] = {"space": f"{corpus} {own}", "of": other, "gap": contrast.gap}
            for size in (1, 10):

                def nearness(batch: Rows, contrast: Contrast = contrast) -> float:
                    directions = contrast.own.directions(batch)
                    theirs = contrast.other.density_of_directions(directions)
                    return float((theirs - contrast.own.density_of_directions(directions)).mean())

                def drift(batch: Rows, own: SpaceSignature = signature) -> float:
                    return -float(own.log_density(batch).mean())

                wrong = list(drawn(known[other][1], size, batches))
                for name, others in (("same", right), ("other", away)):
                    fair = list(drawn(others, size, batches))
                    for statistic in (nearness, drift):
                        values = [statistic(batch) for batch in wrong + fair]
                        labels = [True] * len(wrong) + [False] * len(fair)
                        row[f"{statistic.__name__}, {name} domain, {size}"] = auroc(values, labels)
            rows.append(row)
    return rows


def first_batches(folder: Path, batches: int) -> list[dict[str, Any]]:
    """What the first batch of an empty space is said to resemble, by what the store has."""
    names = ("minilm", "minilm-l4", "minilm-ft")
    spaces = {name: read(folder, "debian", "docs", name) for name in names}
    known = {name: learn(vectors, LEARNED) for name, vectors in spaces.items()}
    rows = []
    for stored, batch_of in ((s, b) for s in names for b in names):
        for size in (10, 500):
            said = [
                recognise(batch, {stored: known[stored][0]}).finding != "fits"
                for batch in drawn(known[batch_of][1], size, batches)
            ]
            rows.append({"stored": stored, "of": batch_of, "size": size, "warned": np.mean(said)})
    return rows


def odd_batches(folder: Path, batches: int) -> list[dict[str, Any]]:
    """Batches of 50 for debian minilm that no model made, or that are all alike."""
    rng = np.random.default_rng(1)
    spaces = {n: read(folder, "debian", "docs", n) for n in ("minilm", "minilm-l4", "minilm-ft")}
    known = {name: learn(vectors, LEARNED) for name, vectors in spaces.items()}
    own, right = known["minilm"]
    peers = {n: Contrast.between(own, known[n][0]) for n in ("minilm-l4", "minilm-ft")}
    rotation = np.linalg.qr(rng.normal(size=(384, 384)))[0].astype(np.float32)
    order = shuffled(12_000)
    pairs, rest = order[:LEARNED], order[LEARNED:]
    forward = Ridge().fit(spaces["minilm-l4"][pairs], spaces["minilm"][pairs])
    translated = unit_rows(forward.translate(spaces["minilm-l4"][rest]))

    def copies() -> Iterable[Rows]:
        for batch in drawn(right, 1, batches):
            yield unit_rows(batch + 0.02 * rng.normal(size=(50, 384)).astype(np.float32))

    cases: dict[str, Iterable[Rows]] = {
        "rotated by a random rotation": drawn(right @ rotation, 50, batches),
        "components in reverse order": drawn(right[:, ::-1], 50, batches),
        "random directions": drawn(rng.normal(size=(2000, 384)).astype(np.float32), 50, batches),
        "minilm-l4 translated by ridge": drawn(translated, 50, batches),
        "50 near copies of one document": copies(),
        "the 50 documents nearest to one": (
            right[np.argpartition(-(right @ one), 50)[:50]] for one in right[:batches]
        ),
        "9 of 10 right, 1 of 10 of minilm-l4": (
            np.concatenate([fair, wrong])
            for fair, wrong in zip(
                drawn(right, 45, batches), drawn(known["minilm-l4"][1], 5, batches), strict=True
            )
        ),
    }
    rows = []
    for what, vectors in cases.items():
        said = [verdict(match_batch(batch, own, peers).finding) for batch in vectors]
        rows.append({"what": what} | {kind: said.count(kind) / len(said) for kind in KINDS})
    return rows


# What it costs


def cost(folder: Path, total: int) -> list[dict[str, Any]]:
    """Ratios of ingest with the guard over ingest without, in turns in one process."""
    old, new = (read(folder, "debian", "docs", name) for name in ("minilm-l4", "minilm"))
    rows = []
    for batch in (1, 100, 1000, 10_000):
        times = min(60, max(4, total // batch))
        with tempfile.TemporaryDirectory() as place, vecstore.open(place) as store:
            seconds: dict[str, list[float]] = {"refuse": [], "off": []}
            collections = {guard: two_spaces(store, guard, old, new) for guard in seconds}
            for number in range(times):
                picked = np.arange(number * batch, (number + 1) * batch) % len(new)
                ids = [f"{number}-{each}" for each in range(batch)]
                for guard, docs in collections.items():
                    start = time.perf_counter()
                    docs.upsert(ids=ids, vectors=new[picked], space="new", guard=guard)
                    seconds[guard].append(time.perf_counter() - start)
        rows.append(
            {
                "what": f"upsert of {batch:,} rows, {times} times in turns, all learning included",
                "ratio": sum(seconds["refuse"]) / sum(seconds["off"]),
                "median ratio": statistics.median(
                    with_guard / without
                    for with_guard, without in zip(seconds["refuse"], seconds["off"], strict=True)
                ),
            }
        )
    signature = learn(new, LEARNED)[0]
    contrast = Contrast.between(signature, learn(old, LEARNED)[0])
    with tempfile.TemporaryDirectory() as place, vecstore.open(place) as store:
        docs = two_spaces(store, "search", old, new)
        docs.search(new[0], space="new")
        pairs = [
            (
                timed(lambda: docs.search(query, space="new")),  # noqa: B023
                timed(lambda: match_batch(query[np.newaxis], signature, {"old": contrast})),  # noqa: B023
            )
            for query in new[:300]
        ]
    share = statistics.median(check / search for search, check in pairs)
    rows.append({"what": "check of one query over exact search of 2,000 rows", "ratio": share})
    return rows


def two_spaces(store: vecstore.Store, name: str, old: Rows, new: Rows) -> vecstore.Collection:
    docs = store.create_collection(name)
    docs.create_space("old", dim=384)
    docs.create_space("new", dim=384)
    for space, vectors in (("old", old), ("new", new)):
        ids = [f"{space}-{number}" for number in range(2000)]
        docs.upsert(ids=ids, vectors=vectors[-2000:], space=space, guard="off")
    return docs


def timed(what: Callable[[], object]) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


# Data


def generations(folder: Path, corpus: str) -> list[str]:
    names = ("minilm", "minilm-l4", "minilm-ft", "lsa256", "ft200")
    return [n for n in names if (folder / corpus / "emb" / f"docs.{n}.f16.npy").exists()]


def read(folder: Path, corpus: str, part: str, name: str) -> Rows:
    vectors = np.load(folder / corpus / "emb" / f"{part}.{name}.f16.npy").astype(np.float32)
    return unit_rows(vectors[vectors.any(axis=1)])


def shuffled(rows: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(rows)


def learn(vectors: Rows, rows: int) -> tuple[SpaceSignature, Rows]:
    """Return a space's signature and the vectors that it has not seen."""
    order = shuffled(len(vectors))
    learned = order[:rows]
    return SpaceSignature.fit(vectors[learned], items=learned), vectors[order[rows:]]


def drawn(vectors: Rows, size: int, batches: int) -> Iterable[Rows]:
    rng = np.random.default_rng(size)
    for _ in range(batches):
        yield vectors[rng.choice(len(vectors), size, replace=False)]


def show(report: dict[str, Any]) -> None:
    """Print every table."""
    head = " | ".join(f"{size}" for size in SIZES)
    print(f"\n| case | learned from | spaces | {head} |\n|---|---|---|" + "---|" * len(SIZES))
    for group in report["groups"]:
        cells = [" / ".join(f"{100 * share:.0f}" for share in group["rates"][s]) if s in
                 group["rates"] else "" for s in map(str, SIZES)]  # fmt: skip
        print(f"| {group['what']} | {group['learned']} | {group['cases']} | {' | '.join(cells)} |")
    right = sum(
        len(group["rates"]) * group["cases"] * report["batches"]
        for group in report["groups"]
        if "right" in group["what"]
    )
    refused = max(
        share[0]
        for group in report["groups"]
        if "right" in group["what"]
        for share in group["rates"].values()
    )
    print(f"\n{right:,} right batches, at most {refused:.4f} of a kind refused")
    for name in ("separation", "first batch", "odd", "cost"):
        columns = list(report[name][0])
        print(f"\n{name}\n\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
        for row in report[name]:
            cells = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in map(row.get, columns)]
            print("| " + " | ".join(cells) + " |")
    print(f"\n{report['seconds']} s on {report['machine']}")


if __name__ == "__main__":
    main()
