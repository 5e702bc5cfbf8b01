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
