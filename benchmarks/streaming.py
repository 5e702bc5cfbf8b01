"""Cost of an affine fit from streamed pairs, and of applying it, against the bare products.

Pairs of 768 and 1,024 dimensions with a planted map lie on disk as raw blocks. Three things are
measured, each as a ratio or a peak within one run:

- seconds of the whole fit (read, widen, accumulate over five folds, choose the penalty by exact
  held-out error, solve) over seconds of the bare float64 products XᵀX, XᵀY and YᵀY of the same
  blocks, which are already in memory and widened. Block by block both are timed one after the
  other, so that other load on the machine falls on both.
- peak resident memory of a fresh process that does nothing but that fit.
- seconds to translate 100,000 vectors over seconds of the bare float32 product, both into new
  memory; minima and medians over alternating repeats, and minima of the processor's time, which
  other load on the machine touches least.

Usage: python benchmarks/streaming.py [--data FOLDER] [--pairs 1000000] [--only fit|apply]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics as st
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vecstore_translators import AffineTranslator, PairStatistics, Ridge

RESULT = Path(__file__).parent / "results" / "streaming.json"
BLOCK_ROWS = 8_192
FOLDS = 5
SECONDS_BUDGET, MEMORY_BUDGET_MB, APPLY_BUDGET = 1.5, 500, 1.1


def main() -> None:
    args = arguments()
    if args.fit_only:
        started = time.perf_counter()
        fit(blocks(args.fit_only, args))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"peak_mb": peak, "seconds": time.perf_counter() - started}))
        return
    before = json.loads(RESULT.read_text()) if args.only else {}
    fitted, applied = before.get("fit"), before.get("apply")
    if args.only != "apply":
        with tempfile.TemporaryDirectory(dir=args.data) as folder:
            root = Path(folder)
            write_pairs(root, args)
            fitted = time_fit(root, args) | fit_in_fresh_process(root, args)
    if args.only != "fit":
        applied = time_apply(args)
    report = {
        "pairs": args.pairs,
        "source_dim": args.source_dim,
        "target_dim": args.target_dim,
        "dtype": args.dtype,
        "block_rows": BLOCK_ROWS,
        "folds": FOLDS,
        "fit": fitted,
        "apply": applied,
        "budgets": {
            "fit_over_gemm": SECONDS_BUDGET,
            "peak_mb": MEMORY_BUDGET_MB,
            "apply_over_gemm": APPLY_BUDGET,
        },
    }
    print_table(report)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=2) + "\n")


def write_pairs(root: Path, args: argparse.Namespace) -> None:
    """Write unit vectors and their noisy planted image, block by block."""
    needed = args.pairs * (args.source_dim + args.target_dim) * np.dtype(args.dtype).itemsize
    free = shutil.disk_usage(root).free
    if free < 1.2 * needed:
        sys.exit(f"expected {1.2 * needed / 1e9:.1f} GB free in {root}, found {free / 1e9:.1f} GB")
    rng = np.random.default_rng(0)
    spread = np.geomspace(1, 0.05, args.source_dim).astype(np.float32)
    weight = rng.normal(size=(args.source_dim, args.target_dim)).astype(np.float32)
    with (root / "x").open("wb") as x_file, (root / "y").open("wb") as y_file:
        for start in range(0, args.pairs, BLOCK_ROWS):
            rows = min(BLOCK_ROWS, args.pairs - start)
            X = rng.standard_normal((rows, args.source_dim), dtype=np.float32) * spread + 0.3
            Y = X @ weight + rng.standard_normal((rows, args.target_dim), dtype=np.float32)
            for vectors, file in ((X, x_file), (Y, y_file)):
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                file.write(vectors.astype(args.dtype).tobytes())


def blocks(root: Path, args: argparse.Namespace) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read the pairs back through one reused buffer per side."""
    dims = args.source_dim, args.target_dim
    buffers = [np.empty((BLOCK_ROWS, dim), dtype=args.dtype) for dim in dims]
    with (root / "x").open("rb", buffering=0) as x, (root / "y").open("rb", buffering=0) as y:
        for start in range(0, args.pairs, BLOCK_ROWS):
            rows = min(BLOCK_ROWS, args.pairs - start)
            for buffer, file in zip(buffers, (x, y), strict=True):
                view = memoryview(buffer[:rows]).cast("B")
                while len(view):
                    view = view[file.readinto(view) :]
            yield buffers[0][:rows], buffers[1][:rows]


def fit(pairs: Iterator[tuple[np.ndarray, np.ndarray]]) -> AffineTranslator:
    """Fit as a user would: folds in one pass, the penalty by exact held-out error."""
    folds = PairStatistics.folds_from_blocks(pairs, folds=FOLDS)
    return Ridge().fit_statistics(sum(folds[1:], start=folds[0]), folds)


def time_fit(root: Path, args: argparse.Namespace) -> dict[str, float]:
    """Time the fit, with the bare products of each block run right after the block is read."""
    dims = args.source_dim, args.target_dim
    X, Y = (np.empty((BLOCK_ROWS, dim)) for dim in dims)
    outs = [np.empty(shape) for shape in ((dims[0],) * 2, dims, (dims[1],) * 2)]
    spent = {"gemm": 0.0, "aside": 0.0}

    def interrupted() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for x, y in blocks(root, args):
            start = time.perf_counter()
            wide_x, wide_y = X[: len(x)], Y[: len(y)]
            wide_x[:], wide_y[:] = x, y
            began = time.perf_counter()
            np.matmul(wide_x.T, wide_x, out=outs[0])
            np.matmul(wide_x.T, wide_y, out=outs[1])
            np.matmul(wide_y.T, wide_y, out=outs[2])
            spent["gemm"] += time.perf_counter() - began
            spent["aside"] += time.perf_counter() - start
            yield x, y

    start = time.perf_counter()
    folds = PairStatistics.folds_from_blocks(interrupted(), folds=FOLDS)
    accumulated = time.perf_counter()
    Ridge().fit_statistics(sum(folds[1:], start=folds[0]), folds)
    ended = time.perf_counter()
    whole = ended - start - spent["aside"]
    return {
        "seconds": whole,
        "gemm_seconds": spent["gemm"],
        "read_and_accumulate_seconds": whole - (ended - accumulated),
        "choose_and_solve_seconds": ended - accumulated,
        "over_gemm": whole / spent["gemm"],
    }


def fit_in_fresh_process(root: Path, args: argparse.Namespace) -> dict[str, float]:
    """Return the peak resident memory of a process that only fits."""
    command = [sys.executable, __file__, "--fit-only", str(root), "--pairs", str(args.pairs)]
    command += ["--dtype", args.dtype, "--source-dim", str(args.source_dim)]
    command += ["--target-dim", str(args.target_dim)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    alone = json.loads(done.stdout)
    return {"peak_mb": alone["peak_mb"], "alone_seconds": alone["seconds"]}


def time_apply(args: argparse.Namespace) -> dict[str, float]:
    """Time translate() and the bare product in turn."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((args.rows, args.source_dim), dtype=np.float32)
    weight = rng.standard_normal((args.source_dim, args.target_dim), dtype=np.float32)
    translator = AffineTranslator(weight, np.ones(args.target_dim))
    weight = np.ascontiguousarray(translator.weight)
    clocks = {"wall": time.perf_counter, "cpu": time.process_time}
    spent: dict[str, list[float]] = {f"{c} {w}": [] for c in clocks for w in ("bare", "applied")}
    for _ in range(args.repeats):
        for what, call in (
            ("bare", lambda: X @ weight),
            ("applied", lambda: translator.translate(X)),
        ):
            start = {name: clock() for name, clock in clocks.items()}
            product = call()
            for name, clock in clocks.items():
                spent[f"{name} {what}"].append(clock() - start[name])
            del product
    return {
        "rows": args.rows,
        "threads": os.environ.get("OPENBLAS_NUM_THREADS", "all"),
        "repeats": args.repeats,
        "seconds": min(spent["wall applied"]),
        "gemm_seconds": min(spent["wall bare"]),
        "over_gemm": min(spent["wall applied"]) / min(spent["wall bare"]),
        "median_over_gemm": st.median(spent["wall applied"]) / st.median(spent["wall bare"]),
        "cpu_over_gemm": min(spent["cpu applied"]) / min(spent["cpu bare"]),
    }


def print_table(report: dict) -> None:
    fit_, apply_ = report["fit"], report["apply"]
    print(f"{report['pairs']:,} pairs, {report['source_dim']} -> {report['target_dim']}")
    print(f"{'':38}{'measured':>10}{'budget':>9}")
    for name, value, budget in (
        ("fit / bare float64 products", fit_["over_gemm"], SECONDS_BUDGET),
        ("peak memory of the fit, MB", fit_["peak_mb"], MEMORY_BUDGET_MB),
        ("translate / bare product (min)", apply_["over_gemm"], APPLY_BUDGET),
        ("translate / bare product (CPU time)", apply_["cpu_over_gemm"], APPLY_BUDGET),
        ("translate / bare product (median)", apply_["median_over_gemm"], APPLY_BUDGET),
    ):
        print(f"{name:38}{value:>10.2f}{budget:>9}")
    for name in ("gemm", "read_and_accumulate", "choose_and_solve"):
        print(f"{name.replace('_', ' ') + ', s':38}{fit_[name + '_seconds']:>10.2f}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder for the 7 GB of temporary files")
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--source-dim", type=int, default=768)
    parser.add_argument("--target-dim", type=int, default=1024)
    parser.add_argument("--dtype", choices=["float16", "float32"], default="float32")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=["fit", "apply"], help="keep the other stored result")
    parser.add_argument("--fit-only", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
