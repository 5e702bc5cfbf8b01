"""A shop with two model generations, and the files that the examples of the help name."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import vecstore
from vecstore_cli.main import cli

ITEMS, PAIRS = 80, 40
BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def planted() -> dict[str, np.ndarray]:
    """Vectors of two models; the second is a rotation of the first with some noise."""
    rng = np.random.default_rng(11)
    old = rng.standard_normal((ITEMS, 3))
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    new = old @ rotation + 0.02 * rng.standard_normal((ITEMS, 3))
    return {
        name: (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        for name, rows in (("v1", old), ("v2", new))
    }


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, planted: dict[str, np.ndarray]) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    ids = [f"p{number}" for number in range(ITEMS)]
    prices = [float(number) for number in range(ITEMS)]
    with vecstore.open(folder / "shop.vecstore") as store:
        products = store.create_collection("products")
        products.create_space("v1", dim=3, model="old-model")
        products.upsert(
            ids=ids,
            vectors=planted["v1"],
            documents=[f"product {number}" for number in range(ITEMS)],
            metadata={"price": prices},
        )
        products.create_space("v2", dim=3, model="new-model", supersedes="v1")
        products.add_vectors(ids=ids[:PAIRS], vectors=planted["v2"][:PAIRS], space="v2")
        products.fit_translator(source="v1", target="v2", family="ridge")
        products.build_index(space="v1", kind="flat")
        products.switch_space("v1")
        store.backup(folder / "backups" / "shop")
    rows = [
        {"id": f"n{number}", "text": f"new {number}", "price": 1.5, "vector": vector.tolist()}
        for number, vector in enumerate(planted["v1"][:6])
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "items.parquet")
    embedded = {
        "text": [f"product {number}" for number in range(ITEMS)],
        "vector": planted["v2"].tolist(),
    }
    pq.write_table(pa.table(embedded), folder / "v2.parquet")
    write_lines(folder / "items.jsonl", rows)
    write_lines(folder / "bad.jsonl", [*rows, {"id": "short", "vector": [1.0]}])
    np.save(folder / "queries.npy", planted["v2"][:4])
    np.save(folder / "new.npy", planted["v2"][:4])
    write_lines(
        folder / "asked.jsonl",
        [
            {"id": f"q{n}", "query": f"product {n}",
             **{name: planted[name][n].tolist() for name in ("v1", "v2")}}
            for n in range(24)
        ],
    )  # fmt: skip
    (folder / "qrels.txt").write_text("".join(f"q{n} 0 p{n} 1\n" for n in range(24)))
    (folder / "new.txt").write_text("".join(f"p{number}\n" for number in range(4)))
    return folder


@pytest.fixture
def shop(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the shop's folder, as the working directory."""
    folder = tmp_path / "shop"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    return folder


Invoke = Callable[..., Result]


@pytest.fixture
def run() -> Invoke:
    """Run a command in this process."""

    def invoke(*arguments: str, stdin: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(cli, arguments, input=stdin, prog_name="vecstore")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def json_of(run: Invoke) -> Callable[..., Any]:
    """Run a command with --json and return what it printed."""

    def parsed(*arguments: str, stdin: str | bytes | None = None) -> Any:
        result = run(*arguments, "--json", stdin=stdin)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return parsed


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """Let SIGINT interrupt this process and those it starts.

    A shell starts what it runs in the background with SIGINT ignored, and processes inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def environment() -> dict[str, str]:
    """Return the environment of a user who has installed the command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("_VECSTORE")}
    # Threads of BLAS gain nothing on matrices this small and fight over a busy machine's cores.
    return kept | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def shell(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a line in a real shell that finds the command."""

    def invoke(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )

    return invoke


def write_lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
