"""Searching on a GPU: queries/s, recall, and the shares of the card's measured ceilings.

For each size and batch the kinds that search on a device are searched there: `gpu_flat`, and, on
FAISS's GPU indexes, `flat`, `ivf_flat` and `ivf_pq`; besides `hnsw`, linked on the GPU where FAISS
has CAGRA, and searched on the CPU. The table names the device each was searched on: where FAISS
sees no GPU, that is the CPU. Builds are timed; all but CAGRA's are the CPU's. Ground truth is
float32 with TensorFloat-32 off. GB/s are bytes of rows read once for each batch, TFLOP/s 2 n d for
each query; their shares are of a device copy and of a half-precision matrix product measured in the
same run, so they say how far a card is used, whatever card it is. A second table times the maps of
translators, host to host as a rewrite of a corpus runs them, against the same maps on the CPU.
Prints the tables and, of a GPU, writes benchmarks/results/gpu.json after every line, so that a run
that is stopped keeps what it measured; --keep adds to the lines that are there, of the same card.

    python benchmarks/gpu.py --rows 1000000 10000000 --dim 768 --device cuda
    python benchmarks/gpu.py --rows 10000000 --kinds maps gpu_flat --keep
    python benchmarks/gpu.py --rows 5000 --dim 32 --device cpu --seconds 0.1  # that it runs
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from vecstore.gpu.device import resolve_device
from vecstore.gpu.translate import translate_on
from vecstore.indexes.blocks import Block
from vecstore.indexes.faiss_gpu import find_gpu
from vecstore.indexes.faiss_library import load_faiss
from vecstore.indexes.originals import Originals
from vecstore.indexes.registry import get_index
from vecstore_translators import get_family

RESULTS = Path(__file__).parent / "results" / "gpu.json"
BATCHES = (1, 32, 1024)
K = 10
KINDS = ("maps", "gpu_flat", "flat", "ivf_flat", "ivf_pq", "hnsw")
# Of product codes of 8 bits, the numbers of parts that FAISS searches on a GPU.
PARTS = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)

# Rows that a translator maps, and pairs that it is fitted on.
TRANSLATED = {"cpu": 8_192, "cuda": 262_144}
PAIRS = 5_000


@dataclass(frozen=True, slots=True)
class Way:
    """A way to search: where it runs, and the bytes of a component if it scans them all."""

    name: str
    place: str
    scanned_bytes: int | None
    settings: dict[str, Any]


def main() -> None:
    """Run all sizes and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each timing")
    parser.add_argument("--keep", action="store_true", help="add to the earlier results")
    parser.add_argument("--data", help="accepted like every benchmark's; this one makes its data")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    results = Results(name_of(device), measured_ceilings(device, arguments.seconds))
    if arguments.keep:
        results.take_up()
    print(f"{results.card}: {results.ceilings}", file=sys.stderr)
    kinds = [kind for kind in KINDS if kind in arguments.kinds]
    if "maps" in kinds:
        kinds.remove("maps")
        for row in translated(arguments.dim, device, arguments.seconds):
            results.add("translations", row)
    for rows in arguments.rows:
        began = time.perf_counter()
        vectors, queries = clustered(rows, arguments.dim, device)
        truth = exact_ids(vectors, queries, device)
        print(f"{rows:,} rows made in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        for kind in kinds:
            for row in searched(kind, vectors, queries, truth, device, arguments.seconds):
                results.add("searches", shared_out(row, results.ceilings))
            release(device)
    results.report()


class Results:
    """What was measured on one card."""

    def __init__(self, card: str, ceilings: dict[str, float]) -> None:
        self.card = card
        self.ceilings = ceilings
        self.found: dict[str, list[dict[str, Any]]] = {"searches": [], "translations": []}

    def take_up(self) -> None:
        """Take up an earlier run's lines, if they are of this card."""
        earlier = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        if earlier.get("card") == self.card:
            self.found.update({name: earlier.get(name, []) for name in self.found})

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Take in a line in place of an earlier one of the same things, and write the file."""
        print(time.strftime("%X"), row, file=sys.stderr, flush=True)
        same = [name for name in ("rows", "kind", "batch", "map") if name in row]
        kept = [old for old in self.found[table] if any(old[n] != row[n] for n in same)]
        self.found[table] = [*kept, row]
        if self.card != processor():  # a run on the CPU shows that this runs, and nothing of a GPU
            measures = {"card": self.card, "ceilings": self.ceilings, "versions": versions()}
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(measures | self.found, indent=2) + "\n")

    def report(self) -> None:
        """Print the tables."""
        ceilings = ", ".join(f"{k} {v:,.0f}" for k, v in self.ceilings.items())
        for name, rows in self.found.items():
            if not rows:
                continue
            table = Table(title=f"{name}: {self.card}: {ceilings}")
            for column in rows[0]:
                table.add_column(column, justify="right")
            for row in rows:
                table.add_row(*(_text(value) for value in row.values()))
            Console(width=150).print(table)


def versions() -> dict[str, str]:
    """Return what the searches run on."""
    return {"torch": torch.__version__, "faiss": str(load_faiss().__version__)}


def processor() -> str:
    """Return the processor's name."""
    return platform.processor() or "CPU"


def name_of(device: str) -> str:
    """Return the card's name, or the processor's."""
    return torch.cuda.get_device_name(device) if device != "cpu" else processor()


def rate(work: Callable[[], object], device: str, seconds: float) -> float:
    """Return calls per second, the device's work included."""
    work()
    wait(device)
    calls, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds or calls < 3:
        work()
        wait(device)
        calls += 1
    return calls / passed


def wait(device: str) -> None:
    """Wait until the device has done what it was asked."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def release(device: str) -> None:
    """Give back what PyTorch keeps of a device's memory, so that FAISS can have it."""
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()


def measured_ceilings(device: str, seconds: float) -> dict[str, float]:
    """Return GB/s of a copy (read and written) and TFLOP/s of a half-precision product."""
    small = device == "cpu"
    source = torch.empty(2**24 if small else 2**30, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copies = rate(lambda: target.copy_(source), device, seconds)
    side = 512 if small else 8192
    kind = torch.float32 if small else torch.float16
    left, right = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    products = rate(lambda: left @ right, device, seconds)
    return {
        "copy GB/s": 2 * source.numel() * copies / 1e9,
        "matmul TFLOP/s": 2 * side**3 * products / 1e12,
    }


def clustered(rows: int, dim: int, device: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw unit vectors around 1,000 centres, and queries near some of them."""
    generator = torch.Generator(device=device).manual_seed(0)
    centres = torch.randn(1000, dim, generator=generator, device=device)
    vectors = np.empty((rows, dim), np.float32)
    for start in range(0, rows, 2**17):
        n = min(2**17, rows - start)
        which = torch.randint(1000, (n,), generator=generator, device=device)
        noise = torch.randn(n, dim, generator=generator, device=device)
        part = torch.nn.functional.normalize(centres[which] + noise, dim=1)
        vectors[start : start + n] = part.cpu().numpy()
    asked = vectors[np.linspace(0, rows - 1, max(BATCHES)).astype(np.int64)]
    noise = np.random.default_rng(1).standard_normal(asked.shape).astype(np.float32)
    queries = asked + noise * np.float32(0.3 / np.sqrt(dim))
    return vectors, queries / np.linalg.norm(queries, axis=1, keepdims=True)


def exact_ids(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], device: str
) -> NDArray[np.int64]:
    """Return the true nearest rows by float32 products."""
    torch.backends.cuda.matmul.allow_tf32 = False
    asked = torch.from_numpy(queries).to(device)
    best = torch.empty((len(queries), 0), device=device)
    found = torch.empty((len(queries), 0), dtype=torch.int64, device=device)
    for start in range(0, len(vectors), 2**17):
        rows = torch.from_numpy(vectors[start : start + 2**17]).to(device)
        scores, order = (asked @ rows.T).topk(min(K, len(rows)), dim=1)
        best, kept = torch.cat([best, scores], dim=1).topk(K, dim=1)
        found = torch.cat([found, order + start], dim=1).gather(1, kept)
    return found.cpu().numpy()


def searched(
    kind: str,
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    truth: NDArray[np.int64],
    device: str,
    seconds: float,
) -> Iterator[dict[str, Any]]:
    """Build a kind and search it in batches of every size."""
    rows, dim = vectors.shape
    block = Block(row_ids=np.arange(rows), vectors=vectors)
    originals = Originals([block])
    parameters: dict[str, Any] = {"device": device}
    if kind == "ivf_pq":
        parts = max(m for m in PARTS if not dim % m and m <= max(1, dim // 4))
        parameters |= {"nbits": 8, "m": parts}
    began = time.perf_counter()
    index = get_index(kind).build([block], dim=dim, metric="ip", parameters=parameters)
    took = time.perf_counter() - began
    for way in variants(kind, device):
        for batch in BATCHES:
            asked = queries[:batch]

            def search(asked: NDArray[np.float32] = asked, way: Way = way) -> NDArray[np.int64]:
                return index.search(asked, K, parameters=way.settings, originals=originals)[1]

            per_second = rate(search, way.place, seconds)
            shares = [
                len(set(found) & set(true)) / K
                for found, true in zip(search(), truth[:batch], strict=True)
            ]
            yield {
                "rows": rows,
                "dim": dim,
                "kind": way.name,
                "on": way.place,
                "build s": took,
                "batch": batch,
                "queries/s": batch * per_second,
                "recall": float(np.mean(shares)),
                "scanned bytes": way.scanned_bytes,
            }


def variants(kind: str, device: str) -> Iterator[Way]:
    """Yield the ways in which a kind is searched."""
    gpu = find_gpu(device)
    place = "cpu" if gpu is None else device
    if kind == "gpu_flat":
        for precision, width in (("float16", 2), ("float32", 4)):
            name = f"gpu_flat {precision}"
            yield Way(name, device, width, {"device": device, "precision": precision})
    elif kind == "hnsw":
        by_cagra = gpu is not None and hasattr(load_faiss(), "GpuIndexCagra")
        yield Way("hnsw by CAGRA" if by_cagra else "hnsw", "cpu", None, {})
    else:
        yield Way(kind, place, 4 if kind == "flat" else None, {"device": device})


def shared_out(row: dict[str, Any], ceilings: dict[str, float]) -> dict[str, Any]:
    """Say of a scan what it reads and computes, in all and as shares of the card's ceilings."""
    width = row.pop("scanned bytes")
    gigabytes = teraflops = None
    if width is not None:
        numbers = row["rows"] * row["dim"]
        gigabytes = numbers * width * row["queries/s"] / row["batch"] / 1e9
        teraflops = 2 * numbers * row["queries/s"] / 1e12
    return row | {
        "GB/s": gigabytes,
        "of copy": gigabytes and gigabytes / ceilings["copy GB/s"],
        "TFLOP/s": teraflops,
        "of matmul": teraflops and teraflops / ceilings["matmul TFLOP/s"],
    }


def translated(dim: int, device: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Map rows by translators of every kind that runs on a device, there and on the CPU."""
    rng = np.random.default_rng(0)
    n = TRANSLATED[device.partition(":")[0]]
    old = rng.standard_normal((n, dim), dtype=np.float32)
    new = np.tanh(old @ rng.standard_normal((dim, dim), dtype=np.float32) / np.sqrt(dim))
    for family in ("ridge", "kernel", "mlp"):
        pairs = slice(0, PAIRS)
        fit = get_family(family).fit(old[pairs], new[pairs])
        there = rate(lambda: translate_on(fit, old, device), device, seconds)  # noqa: B023
        here = rate(lambda: fit.translate(old), "cpu", seconds)  # noqa: B023
        off = np.abs(translate_on(fit, old, device) - fit.translate(old)).max()
        yield {
            "map": family,
            "dim": dim,
            "rows/s": n * there,
            "over the CPU's": there / here,
            "cores": os.cpu_count(),
            "largest difference": float(off),
        }


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
