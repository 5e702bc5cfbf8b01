"""Searching on a GPU: queries/s, recall, and the shares of the card's measured ceilings.

For each size and batch the resident exact index (`gpu_flat`) and FAISS's GPU kinds, where the
installed FAISS has them, are searched; ground truth is float32 with TensorFloat-32 off. GB/s are
bytes of rows read once for each batch, TFLOP/s 2 n d for each query; their shares are of a device
copy and of a half-precision matrix product measured in the same run, so they say how far a card is
used, whatever card it is. Prints a table, writes benchmarks/results/gpu.json.

    python benchmarks/gpu.py --rows 1000000 10000000 --dim 768 --device cuda
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from vecstore.gpu.device import resolve_device
from vecstore.indexes.blocks import Block
from vecstore.indexes.gpu_flat import GpuFlatIndex

RESULTS = Path(__file__).parent / "results" / "gpu.json"
BATCHES = (1, 32, 1024)
K = 10


def main() -> None:
    """Run all sizes and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--device", default="auto")
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
        for row in measured(vectors, queries, truth, device, arguments.seconds, ceilings):
            found.append(row)
            print(row, file=sys.stderr)
    report(found, name_of(device), ceilings)


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


def measured(
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    truth: NDArray[np.int64],
    device: str,
    seconds: float,
    ceilings: dict[str, float],
) -> list[dict[str, Any]]:
    """Search by every kind there is."""
    rows, dim = vectors.shape
    block = Block(row_ids=np.arange(rows), vectors=vectors)
    index = GpuFlatIndex.build([block], dim=dim, metric="ip", parameters={"device": device})
    ways: list[tuple[str, int, Callable[[NDArray[np.float32]], NDArray[np.int64]]]] = [
        (
            f"gpu_flat {precision}",
            size,
            lambda asked, p=precision: index.search(asked, K, parameters={"precision": p})[1],
        )
        for precision, size in (("float16", 2), ("float32", 4))
    ]
    ways += faiss_ways(vectors, device)
    results = []
    for kind, size, search in ways:
        for batch in BATCHES:
            asked = queries[:batch]
            per_second = rate(lambda: search(asked), device, seconds)  # noqa: B023
            found = search(asked)
            recall = np.mean(
                [len(set(f) & set(t)) / K for f, t in zip(found, truth[:batch], strict=True)]
            )
            scanned = kind.startswith("gpu_flat") or kind == "faiss flat"
            gigabytes = rows * dim * size * per_second / 1e9 if scanned else None
            teraflops = 2 * rows * dim * batch * per_second / 1e12 if scanned else None
            results.append(
                {
                    "rows": rows,
                    "kind": kind,
                    "batch": batch,
                    "queries/s": batch * per_second,
                    "recall": float(recall),
                    "GB/s": gigabytes,
                    "of copy": gigabytes and gigabytes / ceilings["copy GB/s"],
                    "TFLOP/s": teraflops,
                    "of matmul": teraflops and teraflops / ceilings["matmul TFLOP/s"],
                }
            )
    return results


def faiss_ways(
    vectors: NDArray[np.float32], device: str
) -> list[tuple[str, int, Callable[[NDArray[np.float32]], NDArray[np.int64]]]]:
    """Return FAISS's own GPU indexes, where the installed build and the machine have them."""
    try:
        import faiss
    except ImportError:
        return []
    if device == "cpu" or getattr(faiss, "get_num_gpus", lambda: 0)() == 0:
        return []
    resources, number = faiss.StandardGpuResources(), int(device.partition(":")[2] or 0)
    rows, dim = vectors.shape
    lists = int(4 * np.sqrt(rows))
    ways = []
    for name, factory, probes in (
        ("flat", "Flat", None),
        ("ivf_flat", f"IVF{lists},Flat", 32),
        ("ivf_pq", f"IVF{lists},PQ96x8", 64),
    ):
        index = faiss.index_cpu_to_gpu(
            resources, number, faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
        )
        index.train(vectors[: max(100_000, 40 * lists)])
        index.add(vectors)
        if probes:
            index.nprobe = probes
        ways.append((f"faiss {name}", 4, lambda asked, index=index: index.search(asked, K)[1]))
    return ways


def report(found: list[dict[str, Any]], card: str, ceilings: dict[str, float]) -> None:
    """Print the table and write it down."""
    table = Table(title=f"{card}: {', '.join(f'{k} {v:,.0f}' for k, v in ceilings.items())}")
    for column in found[0]:
        table.add_column(column, justify="right")
    for row in found:
        table.add_row(*(_text(value) for value in row.values()))
    Console().print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps({"card": card, "ceilings": ceilings, "measured": found}, indent=2) + "\n"
    )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
