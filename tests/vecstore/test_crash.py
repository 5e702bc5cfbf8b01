"""A writer killed at any moment loses nothing it acknowledged and leaves nothing half done."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import vecstore
from vecstore.testing.stores import CollectionModel, check_items, check_search

WRITER = Path(__file__).with_name("writer_process.py")
DIM = 8
STEPS = ["upserted", "attached", "deleted", "replaced"]


def vectors_of(ids, salt):
    """See ``writer_process``."""
    rows = [np.random.default_rng([salt, *name.encode()]).standard_normal(DIM) for name in ids]
    return np.array(rows)


def model_after(steps: int) -> CollectionModel:
    """Return what the first steps of the writer leave."""
    model = CollectionModel()
    model.add_space(vecstore.Space(name="v1", dim=DIM))
    model.add_space(vecstore.Space(name="v2", dim=DIM, metric="l2", supersedes="v1"))
    for step in range(steps):
        number, what = step // 4, STEPS[step % 4]
        ids = [f"{number}-{i}" for i in range(20)]
        if what == "upserted":
            texts = [f"text of {name}" for name in ids]
            model.upsert(ids, {"v1": vectors_of(ids, 1)}, texts, [{"number": number}] * 20)
        elif what == "attached":
            model.add_vectors(ids[:10], vectors_of(ids[:10], 2), "v2", "replace")
        elif what == "deleted":
            model.delete(ids[15:])
        else:
            model.upsert(ids[:2], {"v1": vectors_of(ids[:2], 3)})
    return model


FAST = {"sqlite": range(4), "postgresql": range(1)}
CASES = [
    pytest.param(catalog, seed, marks=[] if seed in FAST[catalog] else [pytest.mark.slow])
    for catalog in FAST
    for seed in range(24)
]


@pytest.mark.parametrize(("place", "seed"), CASES, indirect=["place"])
def test_a_killed_writer_loses_nothing_it_acknowledged(place, seed):
    with place.open() as store:
        docs = store.create_collection("docs")
        docs.create_space("v1", dim=DIM)
        docs.create_space("v2", dim=DIM, metric="l2", supersedes="v1")
    acknowledged = kill(place, seed)
    with place.open() as store:
        docs = store.collection("docs")
        # The kill may fall between the commit and its acknowledgement, so one more step is fine.
        done = docs.version - 2
        assert acknowledged <= done <= acknowledged + 1
        model = model_after(done)
        check_items(docs, model)
        assert docs.checkpoint("live") == {"number": (done - 1) // 4}
        queries = np.random.default_rng(seed).standard_normal((9, DIM))
        for space in ("v1", "v2"):
            if model.native(space):
                check_search(docs, model, queries, space=space, k=12)
        for version in range(2, docs.version):
            check_items(docs.at(version), model_after(version - 2))
        # And writing goes on where it stopped.
        docs.upsert(ids=["after"], vectors=queries[:1], space="v1")
        model.upsert(["after"], {"v1": queries[:1]})
        check_search(docs, model, queries, space="v1", k=12)


def kill(place, seed: int) -> int:
    """Let a writer live, kill it at a moment that the seed decides; return acknowledged steps."""
    task = {"url": place.url, "data": str(place.data), "do": "live", "me": 0}
    command = [sys.executable, str(WRITER), json.dumps(task)]
    generator, lines = random.Random(seed), []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(generator.randrange(1, 14)):
            lines.append(process.stdout.readline())
            assert lines[-1], "the writer failed by itself"
        time.sleep(generator.uniform(0, 0.06))
        process.kill()
        lines += process.stdout.read().splitlines(keepends=True)
    assert process.returncode == -9
    return sum(line.endswith("\n") for line in lines)
