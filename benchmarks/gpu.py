"""Searching on a GPU: queries/s, recall, and the shares of the card's measured ceilings.

For each size and batch the kinds that search on a device are searched there: `gpu_flat`, and, on
FAISS's GPU indexes, `flat`, `ivf_flat` and `ivf_pq`; besides `hnsw`, linked on the GPU where FAISS
has CAGRA, and searched on the CPU. The table names the device each was searched on: where FAISS
sees no GPU, that is the CPU. Builds are timed; all but CAGRA's are the CPU's. Ground truth is
float32 with TensorFloat-32 off. GB/s are bytes of rows read once for each batch, TFLOP/s 2 n d for
each query; their shares are of a device copy and of a half-precision matrix product measured in the
same run, so they say how far a card is used, whatever card it is. Prints a table and, of a GPU,
writes benchmarks/results/gpu.json.

    python benchmarks/gpu.py --rows 1000000 10000000 --dim 768 --device cuda
    python benchmarks/gpu.py --rows 5000 --dim 32 --device cpu --seconds 0.1  # that it runs
"""

from __future__ import annotations

import argparse
import json
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
from vecstore.indexes.blocks import Block
from vecstore.indexes.faiss_gpu import find_gpu
from vecstore.indexes.faiss_library import load_faiss
from vecstore.indexes.originals import Originals
from vecstore.indexes.registry import get_index

RESULTS = Path(__file__).parent / "results" / "gpu.json"
BATCHES = (1, 32, 1024)
K = 10
KINDS = ("gpu_flat", "flat", "ivf_flat", "ivf_pq", "hnsw")
# Of product codes of 8 bits, the numbers of parts that FAISS searches on a GPU.
PARTS = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)

Search = Callable[[NDArray[np.float32]], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to search: where it runs, what it reads of each row if it scans, and its build."""

    kind: str
    place: str
    scanned_bytes: int | None
    build_seconds: float
    search: Search


def main() -> None:
    """Run all sizes and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each timing")
    parser.add_argument("--data", help="accepted like every benchmark's; this one makes its data")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    ceilings = measured_ceilings(device, arguments.seconds)
    print(f"{name_of(device)}: {ceilings}", file=sys.stderr)
    found = []
    for rows in arguments.rows:
        vectors, queries = clustered(rows, arguments.dim, device)
        truth = exact_ids(vectors, queries[: max(BATCHES)], device)
        for way in ways(vectors, device, arguments.kinds):
            for row in measured(way, vectors.shape, queries, truth, arguments.seconds, ceilings):
                found.append(row)
                print(row, file=sys.stderr)
    report(found, name_of(device), ceilings)
    if device != "cpu":  # a run on the CPU shows that this runs, and nothing of a GPU
        measures = {"card": name_of(device), "ceilings": ceilings, "measured": found}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(measures, indent=2) + "\n")


def name_of(device: str) -> str:
    """Return the card's name, or the processor's."""
    return torch.cuda.get_device_name(device) if device != "cpu" else platform.processor() or "CPU"


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


def ways(vectors: NDArray[np.float32], device: str, kinds: tuple[str, ...]) -> Iterator[Way]:
    """Build one kind after another, and let go of each before the next."""
    rows, dim = vectors.shape
    block = Block(row_ids=np.arange(rows), vectors=vectors)
    originals = Originals([block])
    gpu = find_gpu(device)
    place = "cpu" if gpu is None else device
    parts = max(m for m in PARTS if not dim % m and m <= max(1, dim // 4))
    builds: dict[str, tuple[dict[str, Any], str, int | None]] = {
        "gpu_flat": ({"device": device}, device, None),
        "flat": ({"device": device}, place, 4),
        "ivf_flat": ({"device": device}, place, None),
        "ivf_pq": ({"device": device, "nbits": 8, "m": parts}, place, None),
        "hnsw": ({"device": device}, "cpu", None),
    }
    for kind in kinds:
        parameters, where, size = builds[kind]
        began = time.perf_counter()
        index = get_index(kind).build([block], dim=dim, metric="ip", parameters=parameters)
        took = time.perf_counter() - began
        name = kind
        if kind == "hnsw" and gpu is not None and hasattr(load_faiss(), "GpuIndexCagra"):
            name = "hnsw by CAGRA"
        variants: list[tuple[str, int | None, dict[str, Any]]] = [(name, size, {})]
        if kind == "gpu_flat":
            variants = [
                (f"gpu_flat {precision}", width, {"precision": precision})
                for precision, width in (("float16", 2), ("float32", 4))
            ]
        for name, width, chosen in variants:
            yield Way(
                kind=name,
                place=where,
                scanned_bytes=width,
                build_seconds=took,
                search=lambda asked, index=index, chosen=chosen: index.search(
                    asked, K, parameters=chosen, originals=originals
                )[1],
            )


def measured(
    way: Way,
    shape: tuple[int, int],
    queries: NDArray[np.float32],
    truth: NDArray[np.int64],
    seconds: float,
    ceilings: dict[str, float],
) -> Iterator[dict[str, Any]]:
    """Search in batches of every size."""
    rows, dim = shape
    for batch in BATCHES:
        asked = queries[:batch]
        per_second = rate(lambda: way.search(asked), way.place, seconds)  # noqa: B023
        shares = [
            len(set(found) & set(true)) / K
            for found, true in zip(way.search(asked), truth[:batch], strict=True)
        ]
        gigabytes = teraflops = None
        if way.scanned_bytes is not None:
            gigabytes = rows * dim * way.scanned_bytes * per_second / 1e9
            teraflops = 2 * rows * dim * batch * per_second / 1e12
        yield {
            "rows": rows,
            "kind": way.kind,
            "on": way.place,
            "build s": way.build_seconds,
            "batch": batch,
            "queries/s": batch * per_second,
            "recall": float(np.mean(shares)),
            "GB/s": gigabytes,
            "of copy": gigabytes and gigabytes / ceilings["copy GB/s"],
            "TFLOP/s": teraflops,
            "of matmul": teraflops and teraflops / ceilings["matmul TFLOP/s"],
        }


def report(found: list[dict[str, Any]], card: str, ceilings: dict[str, float]) -> None:
    """Print the table."""
    table = Table(title=f"{card}: {', '.join(f'{k} {v:,.0f}' for k, v in ceilings.items())}")
    for column in found[0]:
        table.add_column(column, justify="right")
    for row in found:
        table.add_row(*(_text(value) for value in row.values()))
    Console(width=150).print(table)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
