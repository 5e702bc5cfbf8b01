"""Run by `make wheel-check` with the interpreter of an environment that holds the wheel only.

It answers what no test of the checkout can: does what is shipped work where it is installed? A
store is built and searched through the library, then searched through the installed command, and
both must name the rows that numpy finds.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import vecstore

COMMAND = Path(sys.executable).with_name("vecstore")
ROWS, DIM, K = 500, 24, 5


def run(*arguments: str | Path) -> str:
    """Run the installed command and return what it printed."""
    done = subprocess.run(
        [COMMAND, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{arguments}: exit code {done.returncode}\n{done.stderr}"
    return done.stdout


def check(folder: Path) -> None:
    """Search one store through the library and the command; compare with numpy."""
    assert Path(sys.prefix) in Path(vecstore.__file__).parents, "the checkout shadows the wheel"
    assert importlib.util.find_spec("torch") is None, "the light set must not bring torch"
    assert vecstore.__version__ in run("--version")

    rng = np.random.default_rng(7)
    vectors = rng.standard_normal((ROWS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[17] + 0.1 * vectors[18]
    ids = [f"row-{row}" for row in range(ROWS)]
    nearest = [ids[row] for row in np.argsort(-(vectors @ query))[:K]]

    with vecstore.open(folder / "shop.vecstore") as store:
        products = store.create_collection("products")
        products.create_space("v1", dim=DIM, metric="cosine", model="planted")
        products.upsert(ids=ids, vectors=vectors, space="v1")
        assert [hit.id for hit in products.search(query, space="v1", k=K)] == nearest

    np.save(folder / "query.npy", query[np.newaxis])
    printed = run(
        "search", folder / "shop.vecstore", "--collection", "products",
        "--space", "v1", "--vector-file", folder / "query.npy", "-k", str(K), "--json",
    )  # fmt: skip
    positions = [printed.find(f'"{name}"') for name in nearest]
    assert -1 not in positions, printed
    assert positions == sorted(positions), printed
    assert "minilm384" in run("demo"), "the demo data did not come along"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder))
    print(f"wheel of vecstore {vecstore.__version__}: library, command and demo agree with numpy")
