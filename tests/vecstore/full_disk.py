"""A store on a disk that fills up, in a process of its own: run with its folder and how it fills.

The kernel's limit on the size of files holds for everything that a process does, so nothing else
may go on in it.
"""

from __future__ import annotations

import faulthandler
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import vecstore
from tests.vecstore.test_cascade import Slow
from vecstore.errors import StorageError
from vecstore.testing.stores import CollectionModel, check_items, check_search

DIM, ROWS = 64, 200


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A place for a store; ``real`` if it is a file system of its own, which can be filled."""

    folder: Path
    real: bool

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let nothing more be written."""
        if self.real:
            filler = self.folder / "filler"
            with filler.open("wb", buffering=0) as file:
                for size in (1 << 16, 1 << 12, 1):
                    try:
                        while True:
                            file.write(bytes(size))
                    except OSError:
                        continue
            yield
            filler.unlink()
            return
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)


class Wide(Slow):
    dim = DIM


def refuse_and_serve(disk: Disk) -> None:
    """A full disk refuses writes, and searches go on; with room again, everything is there."""
    rng = np.random.default_rng(0)
    texts = [f"text {n}" for n in range(ROWS)]
    new = rng.standard_normal((ROWS, DIM)).astype(np.float32)
    with vecstore.open(disk.folder / "store") as store:
        docs, model = store.create_collection("docs"), CollectionModel()
        model.add_space(docs.create_space("v1", dim=DIM))
        model.add_space(docs.create_space("v2", dim=DIM, model="new", supersedes="v1"))

        def upsert(part):
            ids = [f"{part}-{n}" for n in range(ROWS)]
            vectors = {"v1": rng.standard_normal((ROWS, DIM))}
            vectors |= {"v2": rng.standard_normal((ROWS, DIM))} if part == 0 else {}
            docs.upsert(ids=ids, vectors=vectors, documents=texts)
            model.upsert(ids, vectors, texts)

        upsert(0)
        upsert(1)
        docs.fit_translator(source="v1", target="v2", family="procrustes")
        version, query = docs.version, rng.standard_normal(DIM)
        with disk.full():
            for write in (
                lambda: upsert(2),
                lambda: docs.delete(["0-1"]),
                lambda: docs.build_index(space="v1", kind="flat"),
                lambda: docs.create_space("v3", dim=2),
                lambda: store.create_collection("other"),
            ):
                with pytest.raises(StorageError) as refusal:
                    write()
                said = str(refusal.value)
                assert any(sign in said for sign in ("full", "too large", "I/O error")), said
            check_search(docs, model, rng.standard_normal((3, DIM)), space="v1", k=9)
            # Caches cannot be written, nor what a cascade embeds; no search fails for that.
            assert len(docs.search(query, space="v2", k=9, execution="rewrite")) == 9
            assert len(docs.search(query, space="v2", k=9, text="text 7")) == 9
            encoder = Wide(new)
            hits = docs.search(query, space="v2", k=5, encoder=encoder, depth=400)
            assert {hit.provenance.kind for hit in hits} == {"native"}
            asked = len(encoder.asked)
            with pytest.raises(StorageError):
                docs.flush()
            again = docs.search(query, space="v2", k=5, encoder=encoder, depth=400)
            assert (again.ids, len(encoder.asked)) == (hits.ids, asked), "nothing is made twice"
            assert docs.version == version
            check_items(docs, model)
            assert not list(disk.folder.rglob("*.tmp")), "half a file was left behind"
        docs.flush()
        assert docs.spaces["v2"].coverage == 1.0, "what waited for the disk is kept"
        numbers = [f"1-{n}" for n in range(ROWS)]
        model.add_vectors(numbers, new, "v2", "replace")
        upsert(2)
        check_items(docs, model)
        left = {(f.severity, f.check) for f in docs.doctor().findings}
        assert left <= {("warning", "words")}, "a half-made index of words may be left"
        assert docs.doctor(repair=True).healthy


if __name__ == "__main__":
    faulthandler.enable()
    refuse_and_serve(Disk(folder=Path(sys.argv[1]), real=sys.argv[2] == "real"))
