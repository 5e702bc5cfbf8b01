"""A backfill in a process of its own: ``python backfill_process.py '{"url": ..., ...}'``.

Prints a line with the number of embedded documents after each commit, and at its end the texts
that its encoder was given.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

import vecstore

DIM = 6
N, COVERED, BARE = 90, 40, (50, 61)


def vector_of(text):
    """The vector of a text, which anyone can work out again."""
    return np.random.default_rng([*text.encode()]).standard_normal(DIM).astype(np.float32)


class TextEncoder:
    name, revision, dim = "new", None, DIM
    profile = vecstore.EncodingProfile()

    def __init__(self, seconds=0.0):
        self.asked = []
        self.seconds = seconds

    def encode_documents(self, texts):
        self.asked += texts
        time.sleep(self.seconds)
        return np.stack([vector_of(text) for text in texts])

    encode_queries = encode_documents


def filled(store, n=N, *, metric="cosine"):
    """Items in v1, 40 of them in v2 too, two without a document; old and new vectors correlate."""
    docs = store.create_collection("docs")
    texts = [None if i in BARE else f"text {i}" for i in range(n)]
    new = np.stack([vector_of(f"text {i}") for i in range(n)])
    mix = np.random.default_rng(1).standard_normal((DIM, 5))
    docs.create_space("v1", dim=5, model="old", metric=metric)
    ids = [f"{i:03}" for i in range(n)]
    docs.upsert(ids=ids, vectors=new @ mix, documents=texts)
    docs.create_space("v2", dim=DIM, model="new", metric=metric, supersedes="v1")
    docs.add_vectors(ids=ids[:COVERED], vectors=new[:COVERED], space="v2")
    return docs, ids, new


def main(task) -> None:
    encoder = TextEncoder(task.get("seconds", 0.0))
    with vecstore.open(task["url"], data=task["data"]) as store:
        print("ready", flush=True)
        store.collection("docs").backfill(
            to="v2",
            encoder=encoder,
            progress=lambda state: print(state.done, flush=True),
            **task["how"],
        )
    print(json.dumps(encoder.asked), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
