"""Disks that are full, read-only or not ours: real ones where the machine lets us make them.

A small file system of our own needs the right to mount. Where that is missing, the kernel's limit
on the size of files stands for a full disk, and a folder's mode for a read-only one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vecstore

HERE = Path(__file__).parent


def in_a_process(*command):
    """Run a program of Python to its end, with our paths."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def mount(folder, *options):
    """Mount something on a folder; say whether that was allowed."""
    command = ["mount", *options, str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    real = mount(folder, "-t", "tmpfs", "-o", "size=4m", "tmpfs")
    yield folder, real
    if real:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("kind", ["own file system", "limit on files"])
def test_a_full_disk_refuses_writes_and_serves_what_it_has(small_disk, tmp_path, kind):
    folder, real = small_disk if kind == "own file system" else (tmp_path, False)
    program = (HERE / "full_disk.py", folder, "real" if real else "limited")
    done = in_a_process(sys.executable, "-W", "error", *program)
    assert done.returncode == 0, f"ended with {done.returncode}:\n{done.stderr}"


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
    done = in_a_process(*prefix, sys.executable, "-c", TRY, place)
    assert done.returncode == 0, done.stderr
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
