"""A writer in a process of its own: ``python writer_process.py '{"url": ..., "do": ...}'``.

Prints one JSON line for each batch after the store has acknowledged it.
"""

from __future__ import annotations

import json
import sys
from itertools import count

import numpy as np

import vecstore

DIM = 8


def vectors_of(ids, salt):
    """Vectors that anyone can work out again from the id and a number."""
    rows = [np.random.default_rng([salt, *name.encode()]).standard_normal(DIM) for name in ids]
    return np.array(rows)


def write_own_rows(docs, me, batches):
    """Upsert rows nobody else has."""
    for number in range(batches):
        ids = [f"{me}-{number}-{i}" for i in range(5)]
        docs.upsert(ids=ids, vectors=vectors_of(ids, 0), space="v1", metadata={"who": [me] * 5})
        yield ids


def write_shared_rows(docs, me, batches):
    """Upsert rows that everyone upserts."""
    ids = [f"shared-{i}" for i in range(6)]
    for number in range(batches):
        result = docs.upsert(
            ids=ids,
            vectors=vectors_of(ids, me),
            space="v1",
            documents=[f"{me} {number}"] * 6,
            metadata={"who": [me] * 6},
        )
        yield result.version


def attach(docs, me, batches):
    """Attach vectors in the second space to rows that others delete and replace meanwhile."""
    ids = [f"shared-{i}" for i in range(6)]
    for _ in range(batches):
        result = docs.add_vectors(
            ids=ids, vectors=vectors_of(ids, me), space="v2", on_existing="replace"
        )
        yield result.version


def live(docs, me, batches):
    """Write, attach and delete without end; to be killed."""
    for number in count():
        ids = [f"{number}-{i}" for i in range(20)]
        docs.upsert(
            ids=ids,
            vectors=vectors_of(ids, 1),
            space="v1",
            documents=[f"text of {name}" for name in ids],
            metadata={"number": [number] * 20},
            checkpoint=vecstore.Checkpoint(job="live", state={"number": number}),
        )
        yield {"upserted": number}
        docs.add_vectors(ids=ids[:10], vectors=vectors_of(ids[:10], 2), space="v2")
        yield {"attached": number}
        docs.delete(ids[15:])
        yield {"deleted": number}
        docs.upsert(ids=ids[:2], vectors=vectors_of(ids[:2], 3), space="v1")
        yield {"replaced": number}


def main(task) -> None:
    with vecstore.open(task["url"], data=task["data"]) as store:
        docs = store.create_collection("docs", exist_ok=True)
        for acknowledged in globals()[task["do"]](docs, task["me"], task.get("batches", 0)):
            print(json.dumps(acknowledged), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
