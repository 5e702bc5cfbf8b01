"""Index kinds against exact search: recall, speed, filters, size, and translated queries.

Every kind is tuned to a recall of 0.95 as `build_index(kind=..., recall=0.95)` does, on half of
the queries; the other half measures. Times are taken in turns with exact search in one process
and given as ratios, because the machines are shared; a filtered search is also given as a ratio
to the unfiltered one of the same index. Prints tables, writes benchmarks/results/indexes.json.

    python benchmarks/indexes.py --data folder            # the folder with debian/, 12,000 x 384
    python benchmarks/indexes.py --rows 100000            # a clustered set instead
    python benchmarks/indexes.py --crossover              # where a graph overtakes the scan
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from vecstore.indexes.blocks import Block
from vecstore.indexes.exact import exact_search
from vecstore.indexes.faiss_library import load_faiss
from vecstore.indexes.originals import Originals
from vecstore.indexes.registry import get_index
from vecstore.rows import RowSet
from vecstore.tuning.measure import Bench
from vecstore.tuning.questions import Questions
from vecstore_translators.registry import get_family

RESULTS = Path(__file__).parent / "results" / "indexes.json"
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "flat": ("flat", {}),
    "hnsw": ("hnsw", {}),
    "ivf_flat": ("ivf_flat", {}),
    "ivf_pq": ("ivf_pq", {}),
    "ivf_pq, 8 bits": ("ivf_pq", {"nbits": 8}),
    "ivf_rabitq": ("ivf_rabitq", {}),
    "sq": ("sq", {}),
    "binary": ("binary", {}),
}
SHARES = (0.01, 0.1, 0.5)
K = 10
RECALL = 0.95


def main() -> None:
    """Measure what was asked for and add it to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds debian/")
    parser.add_argument("--rows", type=int, default=100_000, help="of the clustered set")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--kinds", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--singles", type=int, default=60, help="single queries timed")
    parser.add_argument("--crossover", action="store_true")
    arguments = parser.parse_args()
    if arguments.crossover:
        keep("crossover", crossover(arguments.dim, arguments.singles))
        return
    if arguments.data is not None:
        vectors, queries = debian(arguments.data, "minilm")
        name = "debian minilm"
    else:
        vectors, queries = clustered(arguments.rows, arguments.dim)
        name = f"clustered {arguments.rows:,}"
    block = Block(row_ids=np.arange(len(vectors)), vectors=vectors)
    rows = [measured(kind, block, queries, arguments.singles) for kind in arguments.kinds]
    found: dict[str, Any] = {"rows": len(vectors), "dim": vectors.shape[1], "kinds": rows}
    keep(name, found)
    table(name, rows)
    if arguments.data is not None:
        keep("translated", translated(arguments.data))


def measured(kind: str, block: Block, queries: NDArray[np.float32], singles: int) -> dict[str, Any]:
    """Build one kind, tune it, and time it in turns with exact search."""
    own = np.full(len(queries), -1)
    bench = Bench([block], Questions(vectors=queries, own=own, origin="real"), metric="ip", k=K)
    began = time.perf_counter()
    name, parameters = VARIANTS[kind]
    index = get_index(name).build(
        [block], dim=block.vectors.shape[1], metric="ip", parameters=parameters
    )
    seconds = time.perf_counter() - began
    index = bench.tuned(index, RECALL)
    recall = bench.recall(index)
    originals = Originals([block])
    size = len(index.to_bytes()) / len(block)
    found: dict[str, Any] = {
        "kind": kind,
        "parameters": dict(index.parameters),
        "recall": [recall.mean, recall.low, recall.high],
        "build_seconds": seconds,
        "bytes_per_row": size,
    }

    def ours(asked: NDArray[np.float32], allowed: RowSet | None = None) -> Any:
        return index.search(asked, K, allowed=allowed, originals=originals)

    def exact(asked: NDArray[np.float32]) -> Any:
        return exact_search(asked, [block], K, metric="ip")

    one = [queries[n : n + 1] for n in range(singles)]
    found["single"] = speed(exact, ours, one)
    found["batch"] = speed(exact, ours, [queries[:500]] * 5)
    rng = np.random.default_rng(1)
    for share in SHARES:
        mask = rng.random(len(block)) < share
        allowed = RowSet.of_mask(mask)
        kept = Block(row_ids=block.row_ids, vectors=block.vectors, keep=mask)
        truth = exact_search(queries, [kept], K, metric="ip")[0][:, [-1]]
        share_found = float((ours(queries, allowed)[0] >= truth - 1e-5).mean())

        def filtered(asked: NDArray[np.float32], allowed: RowSet = allowed) -> Any:
            return ours(asked, allowed)

        found[f"filtered {share:g}"] = {
            "recall": share_found,
            "single": speed(ours, filtered, one)["ratio"],
            "batch": speed(ours, filtered, [queries[:500]] * 3)["ratio"],
            "ways": ways(index, originals, ours, one, allowed) if name == "hnsw" else {},
        }
    print(json.dumps(found), file=sys.stderr)
    return found


def ways(
    index: Any,
    originals: Originals,
    ours: Callable[[Any], object],
    one: Sequence[Any],
    allowed: RowSet,
) -> dict[str, float]:
    """Time each way to a filtered answer of a graph against the unfiltered search."""
    found = {}
    for way in ("scan", "lists", "graph"):

        def filtered(asked: NDArray[np.float32], way: str = way) -> Any:
            parameters = {"filtered": way}
            return index.search(
                asked, K, allowed=allowed, parameters=parameters, originals=originals
            )

        found[way] = speed(ours, filtered, one[:30])["ratio"]
    return found


def translated(data: Path) -> dict[str, Any]:
    """Tune an index of old documents on documents, and on what will really ask it.

    The documents are minilm-l4, the queries minilm's, mapped by a query-side ridge fitted on
    documents only.
    """
    old, own_queries = debian(data, "minilm-l4")
    new, new_queries = debian(data, "minilm")
    fitted = get_family("ridge").fit(new[7000:], old[7000:], metric="cosine")
    mapped = unit(fitted.translate(new_queries))
    documents = unit(fitted.translate(new[:7000]))
    block = Block(row_ids=np.arange(7000), vectors=old[:7000])
    asked = {
        "documents": Questions(
            vectors=old[:1500], own=np.arange(1500), origin="documents of the old model"
        ),
        "native queries": questions(own_queries),
        "translated documents": Questions(
            vectors=documents[:1500], own=np.arange(1500), origin="documents, translated"
        ),
        "translated queries": questions(mapped),
    }
    benches = {name: Bench([block], each, metric="ip", k=K) for name, each in asked.items()}
    rows = []
    for kind in ("hnsw", "ivf_flat", "ivf_rabitq", "binary"):
        index = get_index(kind).build([block], dim=block.vectors.shape[1], metric="ip")
        for tuned_on in ("documents", "translated documents", "translated queries"):
            tuned = benches[tuned_on].tuned(index, RECALL)
            reached = {name: bench.recall(tuned).mean for name, bench in benches.items()}
            rows.append(
                {
                    "kind": kind,
                    "tuned_on": tuned_on,
                    "parameters": {
                        name: value
                        for name, value in tuned.parameters.items()
                        if name in ("ef_search", "nprobe", "refine_factor")
                    },
                    "recall": reached,
                }
            )
    grid = Table("kind", "tuned on", "parameters", *asked, title="minilm-l4 documents, recall@10")
    for row in rows:
        values = [f"{row['recall'][name]:.3f}" for name in asked]
        chosen = ", ".join(f"{name} {value}" for name, value in row["parameters"].items())
        grid.add_row(row["kind"], row["tuned_on"], chosen, *values)
    Console(width=160).print(grid)
    return {"rows": 7000, "results": rows}


def questions(vectors: NDArray[np.float32]) -> Questions:
    """Wrap queries, which are no documents."""
    return Questions(vectors=vectors, own=np.full(len(vectors), -1), origin="queries")


def crossover(dim: int, singles: int) -> dict[str, Any]:
    """Time a graph of recall 0.95 against the scan at growing sizes."""
    vectors, queries = clustered(32_000, dim)
    found = []
    for rows in (1_000, 2_000, 4_000, 8_000, 16_000, 32_000):
        part = Block(row_ids=np.arange(rows), vectors=vectors[:rows])
        bench = Bench([part], questions(queries), metric="ip", k=K)
        index = bench.tuned(get_index("hnsw").build([part], dim=dim, metric="ip"), RECALL)

        def ours(asked: NDArray[np.float32], index: Any = index) -> Any:
            return index.search(asked, K)

        def exact(asked: NDArray[np.float32], part: Block = part) -> Any:
            return exact_search(asked, [part], K, metric="ip")

        found.append(
            {
                "rows": rows,
                "recall": bench.recall(index).mean,
                "single": speed(exact, ours, [queries[n : n + 1] for n in range(singles)])["ratio"],
                "batch": speed(exact, ours, [queries[:500]] * 5)["ratio"],
            }
        )
    grid = Table("rows", "recall", "single, x exact", "batch, x exact", title=f"hnsw, {dim} dims")
    for row in found:
        grid.add_row(
            f"{row['rows']:,}",
            f"{row['recall']:.3f}",
            f"{row['single']:.2f}",
            f"{row['batch']:.2f}",
        )
    Console(width=100).print(grid)
    return {"dim": dim, "results": found}


def speed(
    base: Callable[[Any], object], ours: Callable[[Any], object], asked: Sequence[Any]
) -> dict[str, float]:
    """Time both in turns: the median of base / ours, and our median queries per second."""
    base(asked[0])
    ours(asked[0])
    ratios, seconds = [], []
    for queries in asked:
        began = time.perf_counter()
        base(queries)
        between = time.perf_counter()
        ours(queries)
        taken = time.perf_counter() - between
        ratios.append((between - began) / taken)
        seconds.append(taken / len(queries))
    return {"ratio": statistics.median(ratios), "per_second": 1 / statistics.median(seconds)}


def debian(data: Path, model: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return all documents and queries of a model."""
    folder = data / "debian" / "emb"
    return tuple(
        unit(np.load(folder / f"{what}.{model}.f16.npy").astype(np.float32))
        for what in ("docs", "queries")
    )  # type: ignore[return-value]


def clustered(rows: int, dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return unit vectors around 1,000 centres, and 1,000 queries of the same kind."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1000, dim)).astype(np.float32)
    vectors = centres[rng.integers(0, 1000, rows + 1000)]
    vectors += 0.7 * rng.normal(size=vectors.shape).astype(np.float32)
    vectors = unit(vectors)
    return vectors[:rows], vectors[rows:]


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to unit length."""
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def table(name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print the kinds of one data set."""
    shares = [f"filtered {share:g}" for share in SHARES]
    grid = Table(
        "kind", "recall", "single, x exact", "batch, x exact", "build s", "bytes/row", *shares,
        title=f"{name}; filtered: recall, single and batch queries/s over unfiltered",
    )  # fmt: skip
    for row in rows:
        cells = [
            f"{row[s]['recall']:.3f}, {row[s]['single']:.2f}, {row[s]['batch']:.2f}" for s in shares
        ]
        grid.add_row(
            row["kind"],
            f"{row['recall'][0]:.3f}",
            f"{row['single']['ratio']:.2f}",
            f"{row['batch']['ratio']:.2f}",
            f"{row['build_seconds']:.1f}",
            f"{row['bytes_per_row']:.0f}",
            *cells,
        )
    Console(width=170).print(grid)


def keep(name: str, found: dict[str, Any]) -> None:
    """Write one part of the results beside the others."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    before = {row["kind"]: row for row in known.get(name, {}).get("kinds", ())}
    if "kinds" in found:  # kinds can be measured one by one
        found = found | {"kinds": list((before | {r["kind"]: r for r in found["kinds"]}).values())}
    faiss = load_faiss()
    known[name] = found | {
        "machine": platform.machine(),
        "threads": faiss.omp_get_max_threads(),
        "faiss": faiss.__version__,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()
