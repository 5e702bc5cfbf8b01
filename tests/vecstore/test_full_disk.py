"""Disks that are full, read-only or not ours: real ones where the machine lets us make them.

A small file system of our own needs the right to mount. Where that is missing, the kernel's limit
on the size of files stands for a full disk, and a folder's mode for a read-only one.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
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


def mount(folder, *options):
    """Mount something on a folder; say whether that was allowed."""
    command = ["mount", *options, str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    real = mount(folder, "-t", "tmpfs", "-o", "size=4m", "tmpfs")
    yield Disk(folder=folder, real=real)
    if real:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Wide(Slow):
    dim = DIM


@pytest.mark.parametrize("kind", ["own file system", "limit on files"])
def test_a_full_disk_refuses_writes_and_serves_what_it_has(small_disk, tmp_path, kind):
    disk = small_disk if kind == "own file system" else Disk(folder=tmp_path, real=False)
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


@pytest.fixture
def whole(tmp_path):
    """A closed store with a few rows."""
    folder = tmp_path / "home"
    with vecstore.open(folder / "store") as store:
        docs = store.create_collection("docs")
        docs.create_space("v1", dim=3)
        docs.upsert(ids=["a", "b"], vectors=np.eye(2, 3))
    return folder


TRY = """
import json, sys, numpy as np, vecstore
from vecstore.errors import VecstoreError
said = []
def attempt(what):
    try:
        said.append(["done", what()])
    except VecstoreError as error:
        said.append([type(error).__name__, str(error)])
def read():
    with vecstore.open(sys.argv[1], create=False) as store:
        return store.collection("docs").search(np.eye(3)[0]).ids
def write():
    with vecstore.open(sys.argv[1], create=False) as store:
        store.collection("docs").upsert(ids=["c"], vectors=np.eye(1, 3))
def create():
    vecstore.open(sys.argv[1] + "-new")
for what in (read, write, create):
    attempt(what)
print(json.dumps(said))
"""


def attempts(place, *prefix):
    """Read, write and create in a process; return what became of each."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [*prefix, sys.executable, "-c", TRY, str(place)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_read_only_disk_refuses_with_a_reason(whole, tmp_path):
    view = tmp_path / "view"
    view.mkdir()
    if mount(view, "--bind", str(whole)):
        try:
            assert mount(view, "-o", "remount,bind,ro")
            read, write, create = attempts(view / "store")
        finally:
            subprocess.run(["umount", "--lazy", str(view)], check=True)
        assert "ead-only" in create[1] or "readonly" in create[1]
    else:
        # Without the right to mount we are not root, so a mode is as good.
        (whole / "store").chmod(0o555)
        whole.chmod(0o555)
        read, write, create = attempts(whole / "store")
        whole.chmod(0o755)
        (whole / "store").chmod(0o755)
    assert read[0] in ("done", "StorageError"), read
    assert write[0] == create[0] == "StorageError"
    with vecstore.open(whole / "store") as store:
        assert store.collection("docs").count() == 2
        assert store.doctor().findings == ()


def test_files_of_somebody_else_are_refused_with_a_reason(whole):
    """Root may do everything, so root becomes nobody for this."""
    for path in (whole, *whole.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for parent in whole.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if os.geteuid() != 0:
        nobody = []
        for path in (whole, *whole.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
    read, write, create = attempts(whole / "store", *nobody)
    assert read[0] in ("done", "StorageError"), read
    assert write[0] == create[0] == "StorageError"
    assert "ermission" in create[1]
    for path in (whole, *whole.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with vecstore.open(whole / "store") as store:
        assert store.collection("docs").count() == 2
