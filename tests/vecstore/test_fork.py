"""Forks: a store does not survive one, and says so; a child that opens it again gets answers.

Each test runs in a process of its own, because FAISS must have used several threads before the
fork, and a child that waits for threads of its parent would wait for ever.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys, time
import numpy as np, faiss, vecstore

def child_says(work):
    # Gives up after 60 s: then the child waits for threads of its parent.
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = work()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, str(said).encode())
        os._exit(0)
    os.close(writing)
    deadline = time.monotonic() + 60
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return "hung"
        time.sleep(0.01)
    return os.read(reading, 10_000).decode()

place = sys.argv[1]
vectors = np.random.default_rng(0).normal(size=(10_000, 16)).astype(np.float32)
store = vecstore.open(place)
docs = store.create_collection("docs")
docs.create_space("v1", dim=16)
docs.upsert(ids=[f"item-{n}" for n in range(len(vectors))], vectors=vectors)
if KIND:
    docs.build_index(space="v1", kind=KIND, parameters={"ef_construction": 16, "m": 8})
assert faiss.omp_get_max_threads() == 2
expected = docs.search(vectors[:500], k=5).ids.tolist()  # on two threads
"""


def run(tmp_path: Path, kind: str | None, code: str) -> str:
    """Run the program and then some code in a new process with two OpenMP threads."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("KIND", repr(kind)) + code, str(tmp_path / "store")],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


USES = (
    "docs.search(vectors[0])",
    "docs.count()",
    "docs.get('item-1')",
    "docs.upsert(ids=['x'], vectors=vectors[:1])",
    "docs.flush()",
    "store.collection('docs')",
)


def test_a_forked_child_that_uses_its_parents_store_is_refused(tmp_path: Path) -> None:
    code = "".join(f"print(child_says(lambda: {use}))\n" for use in USES)
    said = run(tmp_path, None, code).splitlines()
    assert len(said) == len(USES)
    for use, message in zip(USES, said, strict=True):
        assert message.startswith("UnsupportedOperationError: expected the store to be used"), use
        assert "vecstore.open" in message


@pytest.mark.parametrize("kind", [None, "hnsw"])
def test_a_forked_child_that_opens_the_store_again_gets_the_same_answers(
    tmp_path: Path, kind: str | None
) -> None:
    code = """
def again():
    with vecstore.open(place) as own:
        return own.collection("docs").search(vectors[:500], k=5).ids.tolist() == expected

print(child_says(again), docs.search(vectors[:500], k=5).ids.tolist() == expected)
"""
    assert run(tmp_path, kind, code) == "True True"


def test_closing_in_a_forked_child_leaves_the_parents_store_open(tmp_path: Path) -> None:
    code = "print(child_says(store.close), docs.search(vectors[0], k=1).ids)"
    assert run(tmp_path, None, code) == "None ['item-0']"
