"""A writer in a process of its own: ``python writer_process.py '{"url": ..., "do": ...}'``.

Prints one JSON line for each batch after the store has acknowledged it.
"""

from __future__ import annotations

import json
import sys
import time
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


def transfer(docs, me, batches):
    """Split the total of a pair of accounts anew, in one commit; see ``test_isolation``."""
    rng = np.random.default_rng(me)
    for _ in range(batches):
        pair, amount = int(rng.integers(4)), int(rng.integers(101))
        amounts = [amount, 100 - amount]
        result = docs.upsert(
            ids=[f"a{pair}", f"b{pair}"],
            vectors=[[value, 1] for value in amounts],
            metadata={"amount": amounts},
        )
        yield [result.version, pair, amount]


def watch(docs, until, _batches):
    """Read version after version, each twice, until a last one; yield what each holds."""

    def balances(reader):
        rows = [row for batch in reader.scan(spaces=["v1"]) for row in batch.to_pylist()]
        hits = reader.search([0, 1], space="v1", k=99)
        assert sorted(hits.ids) == sorted(row["id"] for row in rows)
        by_id = {row["id"]: row["amount"] for row in rows}
        assert [-float(by_id[name] ** 2) for name in hits.ids] == hits.scores.tolist()
        return by_id

    last, held = -1, []
    while last < until:
        version = docs.refresh()
        if version.version == last:
            time.sleep(0.002)
            continue
        last = version.version
        held.append((version, balances(version)))
        for earlier, before in held[-5:]:
            assert balances(earlier) == before, "a version that is held never changes"
        yield [last, held[-1][1]]


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
