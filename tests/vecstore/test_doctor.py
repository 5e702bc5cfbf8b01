"""The doctor finds every damage, changes nothing unasked, and repairs only what loses nothing."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import time
from datetime import timedelta

import numpy as np
import pytest

import vecstore
from tests.planted import DIM as PLANTED_DIM
from tests.planted import Model
from tests.vecstore.whole_store import (
    CACHES,
    DAMAGES,
    TRUTH,
    files,
    inflict,
    make_store,
    same,
    use_everything,
)
from vecstore.arguments import DOCTOR_GRACE
from vecstore.indexes.blocks import Block
from vecstore.indexes.registry import get_index

NOW = timedelta(0)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("doctor") / "store")


@pytest.fixture
def folder(template, tmp_path):
    return shutil.copytree(template, tmp_path / "store")


def examine(folder, **options):
    with vecstore.open(folder, create=False) as store:
        return store.doctor(**options)


def everything(folder):
    """Return every file's content; the catalog's journal comes and goes as it is opened."""
    return {
        p: p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.name.startswith("catalog.db-")
    }


def test_a_whole_store_is_healthy_and_every_file_was_read(folder):
    before = everything(folder)
    report = examine(folder)
    assert report.healthy
    assert report.findings == ()
    read = [p for kind in (*TRUTH, "indexes", "translated") for p in files(folder, kind)]
    assert report.files == len(read)
    assert report.bytes == sum(p.stat().st_size for p in read)
    assert everything(folder) == before


@pytest.mark.parametrize("kind", TRUTH)
def test_damage_to_what_was_committed_is_an_error_that_repair_leaves_alone(folder, kind):
    for name, damage in DAMAGES.items():
        victim, *others = files(folder, kind)[::-1]
        whole = inflict(victim, damage, others[-1])
        before = everything(folder)
        for repair in (False, True):
            report = examine(folder, repair=repair, grace=NOW)
            assert not report.healthy, name
            errors = [f for f in report.findings if f.severity == "error"]
            assert {f.file for f in errors} == {victim.relative_to(folder).as_posix()}, name
            assert all("backup" in f.remedy and not f.repaired for f in errors)
        assert everything(folder) == before, name
        victim.write_bytes(whole)
    assert examine(folder).healthy


@pytest.mark.parametrize("kind", ["indexes", "translated"])
@pytest.mark.parametrize("name", list(DAMAGES))
def test_damage_to_a_cache_is_a_warning_and_repaired(folder, kind, name):
    truth = use_everything(folder)
    victim, other = files(folder, kind)[:2]
    inflict(victim, DAMAGES[name], other)
    found = examine(folder).findings
    if kind == "translated" and name == "missing":
        assert found == (), "a cache that nobody made yet"
        return
    assert {(f.severity, f.file) for f in found} == {
        ("warning", victim.relative_to(folder).as_posix())
    }
    assert all(f.repaired for f in examine(folder, repair=True).findings)
    assert examine(folder).findings == ()
    same(use_everything(folder), truth)
    with vecstore.open(folder) as store:
        assert len(store.collection("docs").explain(space="v1").indexes) == 1


@pytest.mark.parametrize("name", list(DAMAGES))
def test_a_damaged_index_of_words_is_a_warning_and_repaired(folder, name):
    truth = use_everything(folder)
    found = [p for p in files(folder, "lexical") if p.suffix == ".term"]
    inflict(found[0], DAMAGES[name], files(folder, "lexical")[0])
    [warning] = examine(folder).findings
    path = found[0].parent.relative_to(folder).as_posix()
    assert (warning.severity, warning.check, warning.file) == ("warning", "words", path)
    assert examine(folder, repair=True).healthy
    assert examine(folder).findings == ()
    same(use_everything(folder), truth)


def test_an_index_that_finds_too_little_is_told_of_and_built_again(folder):
    """Whole by its checksum, and still wrong: it was built over other vectors."""
    with vecstore.open(folder) as store:
        docs = store.collection("docs")
        old = next(i for i in docs.indexes if i.execution is None)
        rows = docs.latest().snapshot.live.to_array()
        noise = np.random.default_rng(5).standard_normal((len(rows), 6)).astype(np.float32)
        bad = get_index("flat").build([Block(row_ids=rows, vectors=noise)], dim=6, metric="ip")
        file = docs._root.write_local(old.file.path.replace(".faiss", "x.faiss"), bad.write)
        values = (file.path, file.size, file.checksum, old.id)
    edit(folder, "UPDATE indexes SET path = ?, size = ?, checksum = ? WHERE id = ?", *values)
    [low] = [f for f in examine(folder).findings if f.check == "recall"]
    assert (low.severity, low.file) == ("warning", file.path)
    assert examine(folder, repair=True).healthy
    assert not [f for f in examine(folder).findings if f.severity != "notice"]


def test_leftovers_are_notices_and_removed_when_they_are_old(folder):
    data = next((folder / "data").iterdir())
    gone = folder / "data" / "dropped-12345678" / "items"
    gone.mkdir(parents=True)
    strays = [
        data / "items" / "stray.parquet",
        data / "vectors" / ".half.arrow.00.tmp",
        gone / "left.parquet",
    ]
    for stray in strays:
        stray.write_bytes(b"rubbish")
    before = everything(folder)
    names = {stray.relative_to(folder).as_posix() for stray in strays}
    assert examine(folder, repair=True).findings == (), "they may be a write under way"
    report = examine(folder, grace=NOW)
    assert report.healthy, "they cost space only"
    assert {f.file for f in report.findings} == names
    assert everything(folder) == before
    old = time.time() - DOCTOR_GRACE.total_seconds() - 60
    os.utime(strays[0], (old, old))
    assert [f.file for f in examine(folder, repair=True).findings] == [
        strays[0].relative_to(folder).as_posix()
    ]
    assert {f.file for f in examine(folder, repair=True, grace=NOW).findings} == names - {
        strays[0].relative_to(folder).as_posix()
    }
    assert not any(stray.exists() for stray in strays)
    assert examine(folder, grace=NOW).findings == ()


def edit(folder, sql, *values):
    connection = sqlite3.connect(folder / "catalog.db")
    with connection:
        connection.execute(sql, values)
    connection.close()


COLUMNS = (
    "collection_id, kind, space_id, path, size, checksum, rows, min_row_id, max_row_id, position, "
    "added_version, removed_version"
)
TWIN = f"INSERT INTO files (id, {COLUMNS}) SELECT 'twin', {COLUMNS} FROM files WHERE kind = "
LIES = {
    "a count": ("UPDATE files SET rows = rows + 1 WHERE kind = 'items'", "rows"),
    "a range": ("UPDATE files SET max_row_id = max_row_id + 1 WHERE kind = 'vectors'", "row id"),
    "row ids that were never given out": ("UPDATE collections SET next_row_id = 7", "given out"),
    "another space": (
        "UPDATE files SET space_id = (SELECT id FROM spaces WHERE name = 'v1') "
        "WHERE kind = 'vectors'",
        "belongs to something else|unit length",
    ),
    "a row in two files": (f"{TWIN} 'items' LIMIT 1", "is in .* and"),
    "two vectors of a row": (f"{TWIN} 'vectors' ORDER BY rows LIMIT 1", "two vectors"),
    "a path outside": ("UPDATE files SET path = '../x' WHERE kind = 'deletes'", "outside"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_catalog_that_lies_about_whole_files_is_found_out(folder, name):
    sql, match = LIES[name]
    edit(folder, sql)
    report = examine(folder)
    errors = [f for f in report.findings if f.severity == "error"]
    assert errors
    assert any(re.search(match, f.finding) for f in errors), errors
    assert not report.healthy


def test_a_damaged_catalog_is_an_error_of_its_own(folder):
    database = folder / "catalog.db"
    whole = bytearray(database.read_bytes())
    connection = sqlite3.connect(database)
    page = connection.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = 'ix_checkpoints_collection_id'"
    ).fetchone()[0]
    connection.close()
    whole[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    database.write_bytes(whole)
    [found] = examine(folder).findings
    assert (found.severity, found.check) == ("error", "catalog")
    assert "backup" in found.remedy


def test_under_postgresql_as_well(place):
    with place.open() as store:
        docs = store.create_collection("docs")
        docs.create_space("v1", dim=3)
        docs.upsert(ids=["a", "b"], vectors=np.eye(2, 3))
        assert docs.doctor().findings == store.doctor().findings == ()
        [file] = [f for f in docs.latest().snapshot.state.files if f.kind == "vectors"]
        (place.data / file.file.path).write_bytes(b"")
        [found] = store.doctor(repair=True).findings
        assert (found.file, found.severity) == (file.file.path, "error")


def test_vectors_of_another_space_are_a_warning_that_names_their_file(store):
    old, new = Model(1), Model(2)
    docs = store.create_collection("docs")
    for name, model in (("v1", old), ("v2", new)):
        docs.create_space(name, dim=PLANTED_DIM)
        ids = [f"{name}-{n}" for n in range(400)]
        docs.upsert(ids=ids, vectors=model.embed(400), space=name)
    assert docs.doctor().findings == ()
    strays = [f"stray-{n}" for n in range(100)]
    docs.upsert(ids=strays, vectors=old.embed(100, start=3), space="v2", guard="off")
    newest = [f for f in docs.latest().snapshot.state.files if f.kind == "vectors"][-1]
    [found] = docs.doctor(repair=True).findings
    assert (found.check, found.severity, found.repaired) == ("purity", "warning", False)
    assert found.file == newest.file.path
    assert "20.0% of the vectors in space 'v2' look like those of space 'v1'" in found.finding


def test_caches_of_every_kind_were_there(folder):
    for kind in CACHES:
        assert files(folder, kind)
