"""Failpoints stand at every durable step, and what refuses there is heard and harms nothing."""

from __future__ import annotations

import ast
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vecstore.errors import InvalidArgumentError, StorageError
from vecstore.storage.failpoints import VARIABLE, Failpoint, armed, parse, reach
from vecstore.testing.stores import CollectionModel, check_items, check_search

ROOT = Path(__file__).parents[2]
DURABLE = ROOT / "vecstore" / "storage" / "durable.py"
STEPS = {"fsync", "fdatasync", "rename", "renames", "unlink", "rmtree", "rmdir", "mkdir",
         "makedirs", "removedirs", "symlink", "link"}  # fmt: skip


def steps_of(module: Path):
    """Yield the calls of a module that make, rename, remove or sync files."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        # Path.replace takes one argument; str.replace and dataclasses.replace take more or names.
        renames = node.func.attr == "replace" and (
            (len(node.args) == 1 and not node.keywords)
            or (isinstance(owner, ast.Name) and owner.id == "os")
        )
        if node.func.attr in STEPS or renames:
            yield f"{node.func.attr} in line {node.lineno}"


@pytest.mark.parametrize("package", ["vecstore", "ingest/vecstore_ingest"])
def test_files_are_made_and_removed_in_one_module_only(package):
    modules = [
        m for m in (ROOT / package).rglob("*.py") if m != DURABLE and "testing" not in m.parts
    ]
    assert len(modules) > 20
    found = {str(m.relative_to(ROOT)): list(steps_of(m)) for m in modules}
    assert {name: steps for name, steps in found.items() if steps} == {}
    assert len(list(steps_of(DURABLE))) == 9


def test_a_specification_that_means_nothing_is_refused():
    for text in ("", "file.write", "file.wriet=kill", "file.write@x=kill", "file.write=ENOTHING"):
        with pytest.raises(InvalidArgumentError, match=r"expected|POINT"):
            parse(text)


def test_a_point_acts_the_time_it_is_told_to():
    with armed("file.write@2=EROFS"):
        reach(Failpoint.FILE_WRITE)
        reach(Failpoint.FILE_SYNC)
        with pytest.raises(OSError, match="Read-only"):
            reach(Failpoint.FILE_WRITE)
        reach(Failpoint.FILE_WRITE)
    reach(Failpoint.FILE_WRITE)


def test_a_process_is_armed_by_its_environment(tmp_path):
    code = f"import vecstore; vecstore.open({str(tmp_path / 'store')!r})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    for spec, ends in (("sql.commit=kill", -signal.SIGKILL), ("file.write=kill", 0)):
        done = subprocess.run([sys.executable, "-c", code], env={**environment, VARIABLE: spec})
        assert done.returncode == ends


DIM = 4


@pytest.fixture
def world(place):
    """A collection with two spaces and its model."""
    rng = np.random.default_rng(0)
    ids = [f"{i}" for i in range(12)]
    with place.open() as store:
        docs, model = store.create_collection("docs"), CollectionModel()
        model.add_space(docs.create_space("v1", dim=DIM))
        model.add_space(docs.create_space("v2", dim=DIM, supersedes="v1"))
        vectors = {"v1": rng.standard_normal((12, DIM)), "v2": rng.standard_normal((12, DIM))}
        docs.upsert(ids=ids, vectors=vectors)
        model.upsert(ids, vectors)
        yield docs, model, rng


WRITES = {
    "upsert": lambda docs, rng: docs.upsert(ids=["1"], vectors=rng.random((1, DIM)), space="v1"),
    "add_vectors": lambda docs, rng: docs.add_vectors(
        ids=["2"], vectors=rng.random((1, DIM)), space="v2", on_existing="replace"
    ),
    "delete": lambda docs, rng: docs.delete(["3"]),
}
REFUSING = [
    Failpoint.FILE_WRITE, Failpoint.FILE_SYNC, Failpoint.FILE_RENAME, Failpoint.FILE_RENAMED,
    Failpoint.FOLDER_SYNC, Failpoint.SQL_BEGIN, Failpoint.SQL_COMMIT,
]  # fmt: skip


@pytest.mark.parametrize("error", ["ENOSPC", "EROFS", "EACCES", "EIO"])
def test_a_disk_that_refuses_at_any_step_is_an_error_and_nothing_changes(world, error):
    docs, model, rng = world
    folder = docs._root.folder / "data"
    for point in REFUSING:
        for name, write in WRITES.items():
            with armed(f"{point}={error}"), pytest.raises(StorageError) as refusal:
                write(docs, rng)
            said = os.strerror(getattr(errno, error))
            assert said in str(refusal.value), (point, name)
    check_items(docs, model)
    check_search(docs, model, rng.standard_normal((3, DIM)), space="v1", k=9)
    assert list(folder.rglob(".*.tmp")) == [], "what could not be finished is taken away"
    docs.delete(["3"])
    model.delete(["3"])
    check_items(docs, model)


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize(
    "point", [Failpoint.SQL_BEGIN, Failpoint.SQL_COMMIT, Failpoint.SQL_COMMITTED]
)
def test_a_connection_that_is_lost_once_is_forgotten(world, point, name):
    """Also when it was lost after the commit and before the answer: nothing is done twice."""
    docs, _, rng = world
    before, items = docs.version, len(docs)
    with armed(f"{point}@1=ECONNRESET"):
        result = WRITES[name](docs, rng)
    assert result.version == before + 1 == docs.version
    assert len(docs) == items - (name == "delete")
    rows = docs.refresh().snapshot.whole_columns(["row_id"])
    known = np.concatenate([table.column("row_id").to_numpy() for table in rows])
    assert len(known) == len(np.unique(known))
    assert docs.versions()[-1].version == docs.version


def test_a_connection_that_stays_lost_is_an_error(world):
    docs, model, rng = world
    with armed(f"{Failpoint.SQL_BEGIN}=ECONNRESET"), pytest.raises(StorageError, match="reset"):
        WRITES["upsert"](docs, rng)
    check_items(docs, model)
