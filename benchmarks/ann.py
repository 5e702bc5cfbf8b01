"""Run a file of ann-benchmarks: recall against queries per second, and results its plots can read.

Reads ``train``, ``test`` and ``distances`` of an HDF5 file (without one it writes a small file of
its own), builds an index, and asks all queries one by one for each search effort. Prints a table
and writes, beside results/ann.json, one HDF5 file for each effort in the layout of ann-benchmarks:

    RESULTS/dataset/10/vecstore/hnsw_16_200_64.hdf5

Put that folder into ann-benchmarks' own results folder, and its plot.py draws vecstore as well.

    python benchmarks/ann.py --file glove-25-angular.hdf5 --results FOLDER
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np
from rich.console import Console
from rich.table import Table

import vecstore
from vecstore_ingest import ROW_NUMBERS, Source, ingest
from vecstore_ingest.formats.hdf5 import matrix_of, open_hdf5

HERE = Path(__file__).parent
K = 10
METRICS = {"angular": "cosine", "euclidean": "l2"}
EFFORTS = (16, 32, 64, 128, 256, 512)
LINKS, BUILD = 16, 200


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", help="a file of ann-benchmarks; by default a small made one")
    parser.add_argument("--results", default=str(HERE / "results" / "scratch" / "ann"))
    parser.add_argument("--json", default=str(HERE / "results" / "ann.json"))
    parser.add_argument("--runs", type=int, default=2, help="the best of so many is kept")
    parser.add_argument("--data", help="accepted like every benchmark's; this one has --file")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vecstore-ann-"))
    try:
        path = Path(arguments.file) if arguments.file else made(folder)
        found = measure(folder, path, arguments)
    finally:
        shutil.rmtree(folder)
    report(path.stem, found, arguments)


def measure(folder: Path, path: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Build once, then search with every effort."""
    source = Source(path=str(path), format="hdf5", ids=ROW_NUMBERS)
    with open_hdf5(source) as file:
        distance = str(file.attrs.get("distance", "euclidean"))
        if distance not in METRICS:
            sys.exit(f"{path}: expected distance {' or '.join(METRICS)}, got {distance!r}")
        dim = matrix_of(file, "train", source).shape[1]
        test = np.asarray(matrix_of(file, "test", source)[:], np.float32)
        truth = np.asarray(matrix_of(file, "distances", source)[:])
    found = []
    with vecstore.open(folder / "store") as store:
        docs = store.create_collection("ann")
        docs.create_space("v", dim=dim, metric=METRICS[distance])
        ingest(docs, source, space="v", index=False)
        began = time.perf_counter()
        build = {"m": LINKS, "ef_construction": BUILD}
        docs.build_index(space="v", kind="hnsw", parameters=build)
        build_s = time.perf_counter() - began
        for effort in EFFORTS:
            set_effort(docs, effort)
            times, ids, distances = searched(docs, test, arguments.runs)
            if distance == "euclidean":
                distances = np.sqrt(np.maximum(distances, 0))  # ours are squared, theirs are not
            mean = float(times.mean())
            found.append(
                {"effort": effort, "recall": recall(distances, truth), "qps": 1 / mean}
                | {"build_s": build_s}
            )
            attributes = {
                "algo": "vecstore",
                "dataset": path.stem,
                "name": f"vecstore(hnsw, m={LINKS}, ef={effort})",
                "distance": distance,
                "count": K,
                "run_count": arguments.runs,
                "batch_mode": False,
                "expect_extra": False,
                "best_search_time": mean,
                "candidates": float(K),
                "build_time": build_s,
                "index_size": docs.indexes[0].file.size / 1024,
            }
            name = f"hnsw_{LINKS}_{BUILD}_{effort}.hdf5"
            out = Path(arguments.results) / path.stem / str(K) / "vecstore" / name
            write_results(out, attributes, (times, ids, distances))
    return found


def set_effort(docs: Any, effort: int) -> None:
    """Change the search effort of the open index, so that one build serves all of them."""
    plan = docs._latest.get().prepared("v", ("v",), execution=None)
    index = plan.sources[0].index
    parameters = MappingProxyType(dict(index.parameters) | {"ef_search": effort})
    index._plan = replace(index._plan, parameters=parameters)


def searched(docs: Any, queries: Any, runs: int) -> tuple[Any, Any, Any]:
    """Ask one by one; return the seconds of the best run, row numbers and distances."""
    best = None
    for _ in range(runs):
        times, ids, distances = [], [], []
        for query in queries:
            began = time.perf_counter()
            hits = docs.search(query, k=K)
            found = hits.ids
            times.append(time.perf_counter() - began)
            missing = K - len(found)
            ids.append([int(item) for item in found] + [-1] * missing)
            distances.append([*hits.distances.tolist(), *[np.inf] * missing])
        if best is None or sum(times) < best[0].sum():
            best = np.array(times), np.array(ids), np.array(distances)
    assert best is not None
    return best


def recall(distances: Any, truth: Any) -> float:
    """Return the share within the true tenth distance, as ann-benchmarks counts (ties are hits)."""
    return float(np.mean(np.sort(distances, axis=1) <= truth[:, [K - 1]] + 1e-3))


def write_results(path: Path, attributes: dict[str, Any], found: tuple[Any, Any, Any]) -> None:
    """Write what ann-benchmarks' plots read: attributes, times, neighbours, distances."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times, ids, distances = found
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        file.create_dataset("times", data=times.astype(np.float32))
        file.create_dataset("neighbors", data=ids.astype(np.int32))
        file.create_dataset("distances", data=distances.astype(np.float32))


def made(folder: Path) -> Path:
    """Write a small file in the same layout: 10,000 rows around 1,000 centres."""
    from store import clustered

    train, queries = clustered(10_000, 64)
    scores = 1 - queries @ train.T
    order = np.argsort(scores, axis=1)[:, :100]
    path = folder / "clustered-64-angular.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs["distance"] = "angular"
        file["train"], file["test"] = train, queries
        file["neighbors"] = order.astype(np.int32)
        file["distances"] = np.take_along_axis(scores, order, axis=1).astype(np.float32)
    return path


def report(name: str, found: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Print the table and write the JSON."""
    table = Table("ef", "recall@10", "queries/s, one by one")
    for row in found:
        table.add_row(str(row["effort"]), f"{row['recall']:.3f}", f"{row['qps']:,.0f}")
    Console(width=100).print(f"{name}; results in {arguments.results}", table)
    path = Path(arguments.json)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"dataset": name, "efforts": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
