"""A backup is one moment of the store, whole or refused, and restores it anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecstore
from tests.vecstore.whole_store import make_store, same, use_everything
from tests.vecstore.writer_process import DIM, vectors_of
from vecstore.backup import manifest as manifests
from vecstore.catalog import portable, tables
from vecstore.errors import (
    AlreadyExistsError,
    CorruptFileError,
    NotFoundError,
    SchemaVersionError,
    StorageError,
)
from vecstore.storage.failpoints import VARIABLE, armed
from vecstore.storage.root import checksum, open_root

WRITER = Path(__file__).with_name("writer_process.py")
SIDE = 60


def vectors(n, seed):
    return np.random.default_rng(seed).standard_normal((n, DIM))


def lived_in(store):
    """Two collections with a history: deletes, replacements, another column, translator, index."""
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=DIM)
    docs.create_space("v2", dim=DIM, metric="l2", dtype="float16", supersedes="v1")
    ids = [f"d{i}" for i in range(SIDE)]
    docs.upsert(ids=ids, vectors=vectors(SIDE, 1), space="v1", documents=[f"word{i}" for i in ids])
    docs.add_vectors(ids=ids[:50], vectors=vectors(50, 2), space="v2")
    docs.delete(ids[40:45])
    docs.upsert(ids=ids[:3], vectors=vectors(3, 3), space="v1", metadata={"n": [1, 2, None]})
    docs.fit_translator(source="v1", target="v2", family="ridge")
    docs.build_index(space="v1", kind="flat")
    docs.switch_space("v1")
    docs.compact(dead_share=0)
    docs.upsert(
        ids=["last"],
        metadata={"n": [7]},
        checkpoint=vecstore.Checkpoint(job="load", state={"at": 9}),
    )
    other = store.create_collection("other ü")
    other.upsert(ids=["x"], metadata={"when": ["now"]})
    return docs


def answers(docs: vecstore.Collection) -> dict[str, Any]:
    """All that every readable version says, and what belongs to none."""
    said: dict[str, Any] = {}
    history = docs.versions()
    for version in (v.version for v in history if not v.expired):
        reader = docs.at(version)
        spaces = list(reader.spaces)
        rows = [row for batch in reader.scan(spaces=spaces) for row in batch.to_pylist()]
        said[f"rows {version}"] = rows
        for space in spaces:
            if reader.spaces[space].coverage:
                hits = reader.search(vectors(4, 9), space=space, k=30, allow_partial=True)
                said[f"ids {version} {space}"] = hits.ids.tolist()
                said[f"scores {version} {space}"] = hits.scores.tolist()
    return said | {
        "history": history,
        "translators": docs.translators,
        "indexes": docs.indexes,
        "checkpoint": docs.checkpoint("load"),
        "default": docs.default_space,
        "next": docs._catalog.history(docs._record.id).next_row_id,
    }


@pytest.fixture
def into(place, tmp_path, request):
    """A new place under the same kind of catalog."""
    if "://" in place.url:
        return type(place)(url=request.getfixturevalue("new_database")(), data=tmp_path / "into")
    return type(place)(url=str(tmp_path / "into"), data=tmp_path / "into")


def restore(backup, into):
    return vecstore.restore(backup, into.url, data=into.data)


def files_at(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_every_version_and_every_answer_comes_back(place, into, tmp_path):
    with place.open() as store:
        docs = lived_in(store)
        docs.expire(keep_last=6)
        truth = answers(docs)
        report = store.backup(tmp_path / "backup")
        assert report.collections == {"docs": docs.version, "other ü": 1}
    assert (report.copied_files, report.copied_bytes) == (report.files, report.bytes)
    restored = restore(tmp_path / "backup", into)
    assert (restored.collections, restored.files) == (report.collections, report.files)
    shutil.rmtree(place.data)
    with into.open(create=False) as store:
        assert store.collections() == ["docs", "other ü"]
        copy = store.collection("docs")
        assert answers(copy) == truth
        with pytest.raises(NotFoundError, match="expired"):
            copy.at(0)
        assert store.doctor().healthy
        # It lives on: expiry and collection know which files it has.
        copy.upsert(ids=["new"], vectors=vectors(1, 4), space="v1")
        copy.expire(keep_last=1)
        store.gc(grace=timedelta(0))
        assert copy.search(vectors(1, 4), space="v1", k=1).ids[0].tolist() == ["new"]


def test_every_table_is_in_a_backup_or_left_out_on_purpose(store):
    rows, _ = store._catalog.portable.read()
    assert set(rows) | portable.LEFT_OUT == set(tables.metadata.tables)
    assert not set(rows) & portable.LEFT_OUT


def test_a_store_moves_to_postgresql_and_back(tmp_path, store_place, new_database):
    with store_place.open() as store:
        truth = answers(lived_in(store))
        store.backup(tmp_path / "one")
    server = type(store_place)(url=new_database(), data=tmp_path / "data")
    restore(tmp_path / "one", server)
    with server.open() as store:
        assert answers(store.collection("docs")) == truth
        store.backup(tmp_path / "two")
    vecstore.restore(tmp_path / "two", tmp_path / "last")
    with vecstore.open(tmp_path / "last", create=False) as store:
        assert answers(store.collection("docs")) == truth
        assert store.doctor().healthy


def test_caches_are_made_again(tmp_path):
    path = make_store(tmp_path / "store")
    truth = use_everything(path)
    with vecstore.open(path) as store:
        store.backup(tmp_path / "backup")
    vecstore.restore(tmp_path / "backup", tmp_path / "copy")
    same(use_everything(tmp_path / "copy"), truth)


def test_a_backup_under_a_writer_holds_all_that_was_acknowledged_and_nothing_half(
    place, into, tmp_path
):
    with place.open() as store:
        docs = store.create_collection("docs")
        docs.create_space("v1", dim=DIM)
        docs.create_space("v2", dim=DIM)
    task = json.dumps({"url": place.url, "data": str(place.data), "do": "live", "me": 1})
    with subprocess.Popen([sys.executable, WRITER, task], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        try:
            for _ in range(5):
                acknowledged = writer.stdout.readline()
            with place.open() as store:
                first = store.backup(tmp_path / "backup")
                for _ in range(9):
                    acknowledged = writer.stdout.readline()
                last = json.loads(acknowledged)
                second = store.backup(tmp_path / "backup")
        finally:
            writer.kill()
    assert second.copied_files < second.files
    # Two spaces, then one commit for each line that was read before the backup began.
    assert first.collections["docs"] >= 2 + 5
    assert second.collections["docs"] >= 2 + 5 + 9
    restore(tmp_path / "backup", into)
    with into.open(create=False) as store:
        docs = store.collection("docs")
        assert docs.version == second.collections["docs"]
        number = docs.checkpoint("live")["number"]
        assert number >= max(last.values())
        rows = [r for b in docs.scan(spaces=["v1", "v2"]) for r in b.to_pylist()]
        by_number = defaultdict(list)
        for row in rows:
            if row["number"] is not None:
                by_number[row["number"]].append(row)
        # The newest batch may be at any of its four commits, all others are through.
        for n in range(number):
            assert len(by_number[n]) + 2 == 15, "two were replaced, without their number"
        assert len(by_number[number]) in (20, 15, 13)
        replaced = {row["id"]: row["v1"] for row in rows if row["number"] is None}
        expected = vectors_of(list(replaced), 3)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(list(replaced.values()), expected, atol=1e-6)
        assert store.doctor().healthy


@pytest.mark.parametrize("moment", ["file.rename@2", "file.sync@5", "file.write@7"])
def test_a_killed_backup_is_refused_and_completed_by_the_next(store_place, tmp_path, moment):
    with store_place.open() as store:
        truth = answers(lived_in(store))
    code = "import sys, vecstore; vecstore.open(sys.argv[1]).backup(sys.argv[2])"
    command = [sys.executable, "-c", code, store_place.url, str(tmp_path / "backup")]
    done = subprocess.run(command, env={VARIABLE: f"{moment}=kill"} | dict(os.environ))
    assert done.returncode == -9
    with pytest.raises(NotFoundError, match="interrupted"):
        vecstore.restore(tmp_path / "backup", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    with store_place.open() as store:
        report = store.backup(tmp_path / "backup")
    assert report.copied_files < report.files or moment == "file.rename@2"
    vecstore.restore(tmp_path / "backup", tmp_path / "copy")
    with vecstore.open(tmp_path / "copy", create=False) as store:
        assert answers(store.collection("docs")) == truth
    assert not [p for p in (tmp_path / "backup").rglob("*") if p.name.endswith(".tmp")]


def test_until_the_next_backup_is_complete_the_one_before_is_restored(store, tmp_path):
    docs = lived_in(store)
    truth = answers(docs)
    store.backup(tmp_path / "backup")
    docs.upsert(ids=["late"], vectors=vectors(1, 5), space="v1")
    for point in ("file.write@2", "file.rename@2"):
        with armed(f"{point}=ENOSPC"), pytest.raises(StorageError, match="full"):
            store.backup(tmp_path / "backup")
    vecstore.restore(tmp_path / "backup", tmp_path / "copy")
    with vecstore.open(tmp_path / "copy", create=False) as copy:
        assert answers(copy.collection("docs")) == truth


def test_an_interrupted_restore_leaves_no_store_and_goes_on(place, into, tmp_path):
    with place.open() as store:
        truth = answers(lived_in(store))
        store.backup(tmp_path / "backup")
    for moment in ("file.write@4", "sql.commit@1"):
        with armed(f"{moment}=ENOSPC"), pytest.raises(StorageError):
            restore(tmp_path / "backup", into)
        if "://" not in into.url:
            with pytest.raises(NotFoundError):
                assert into.open(create=False).collection("docs")
    before = files_at(into.data / "data")
    restore(tmp_path / "backup", into)
    after = files_at(into.data / "data")
    assert {path: after[path] for path in before} == before, "what is whole is not copied again"
    with into.open(create=False) as store:
        assert answers(store.collection("docs")) == truth


def test_a_second_backup_copies_what_is_new_and_removes_what_is_gone(store, tmp_path):
    docs = lived_in(store)
    first = store.backup(tmp_path / "backup")
    before = files_at(tmp_path / "backup")
    again = store.backup(tmp_path / "backup")
    assert (again.copied_files, again.removed_files) == (0, 1), "the manifest before"
    docs.upsert(ids=["a", "b"], vectors=vectors(2, 6), space="v1")
    third = store.backup(tmp_path / "backup")
    assert (third.copied_files, third.files) == (2, first.files + 2)
    after = files_at(tmp_path / "backup")
    assert {p: after[p] for p in before if "manifest" not in p} == {
        p: v for p, v in before.items() if "manifest" not in p
    }
    victim = next(tmp_path.glob("backup/*/data/*/items/*"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    assert store.backup(tmp_path / "backup").copied_files == 1, "a damaged copy is made again"
    docs.compact(dead_share=0)
    docs.expire(keep_last=1)
    last = store.backup(tmp_path / "backup")
    assert last.removed_files > 3
    there = {p.removeprefix("vecstore-backup/") for p in files_at(tmp_path / "backup")}
    assert len(there) == last.files + 1
    vecstore.restore(tmp_path / "backup", tmp_path / "copy")
    with vecstore.open(tmp_path / "copy") as copy:
        assert answers(copy.collection("docs")) == answers(docs)


def test_a_damaged_backup_is_refused_by_name(store, tmp_path):
    lived_in(store)
    store.backup(tmp_path / "backup")
    for kind in ("items", "vectors", "deletes", "translators", "manifest"):
        pattern = "manifest*" if kind == "manifest" else f"data/*/{kind}/**/*.*"
        victim = next((tmp_path / "backup" / "vecstore-backup").glob(pattern))
        whole = victim.read_bytes()
        for content in (whole[:-1], whole[:9] + bytes([whole[9] ^ 1]) + whole[10:]):
            victim.write_bytes(content)
            with pytest.raises(CorruptFileError, match=victim.name):
                vecstore.restore(tmp_path / "backup", tmp_path / kind)
            assert not (tmp_path / kind / "catalog.db").exists()
        victim.write_bytes(whole)
    index = next(tmp_path.glob("backup/*/data/*/indexes/*"))
    index.write_bytes(b"no index")
    report = vecstore.restore(tmp_path / "backup", tmp_path / "copy")
    assert [Path(path).name for path in report.indexes_left_out] == [index.name]
    with vecstore.open(tmp_path / "copy") as copy:
        assert copy.collection("docs").indexes == ()
        assert copy.doctor().healthy


def test_a_file_that_is_gone_fails_the_backup_and_an_index_does_not(store, tmp_path):
    docs = lived_in(store)
    folder = tmp_path / "store" / "data"
    next(folder.glob("*/indexes/*")).unlink()
    assert len(store.backup(tmp_path / "one").indexes_left_out) == 1
    victim = folder.parent / docs.latest().snapshot.state.files[-1].file.path
    victim.unlink()
    with pytest.raises(CorruptFileError, match=rf"not complete.*{victim.name}.*run it again"):
        store.backup(tmp_path / "two")
    with pytest.raises(NotFoundError, match="backup"):
        vecstore.restore(tmp_path / "two", tmp_path / "copy")


@pytest.mark.parametrize(
    ("what", "number", "remedy"),
    [("format", 2, "Upgrade"), ("schema", 99, "Upgrade"), ("schema", 0, "with that vecstore")],
)
def test_another_format_or_schema_is_refused(store, tmp_path, what, number, remedy):
    lived_in(store)
    store.backup(tmp_path / "backup")
    place = open_root(tmp_path / "backup")
    _, file, _ = manifests.read_manifest(place)
    values = json.loads((tmp_path / "backup" / file.path).read_text())
    content = json.dumps(values | {what: number}).encode()
    path = f"{manifests.FOLDER}/manifest-00000002-{checksum(content)}.json"
    place.write(path, lambda sink: sink.write(content))
    for call in (
        lambda: vecstore.restore(tmp_path / "backup", tmp_path / "copy"),
        lambda: store.backup(tmp_path / "backup"),
    ):
        with pytest.raises(SchemaVersionError, match=rf"{what} version {number}.*{remedy}"):
            call()
    assert not (tmp_path / "copy").exists()


def test_only_an_empty_place_is_restored_into(place, into, tmp_path):
    with place.open() as store:
        lived_in(store)
        store.backup(tmp_path / "backup")
    with into.open() as store:
        store.create_collection("mine").upsert(ids=["a"], metadata={"n": [1]})
    before = files_at(into.data / "data")
    with pytest.raises(AlreadyExistsError, match="'mine'"):
        restore(tmp_path / "backup", into)
    with pytest.raises(AlreadyExistsError, match="without files"):
        vecstore.restore(tmp_path / "backup", tmp_path / "new", data=into.data)
    assert files_at(into.data / "data") == before
    with into.open() as store:
        assert store.collections() == ["mine"]
    with pytest.raises(NotFoundError, match="no backup"):
        vecstore.restore(tmp_path / "nothing", tmp_path / "new")


def test_collections_can_be_chosen_and_no_backup_replaces_what_it_has_not(store, tmp_path):
    lived_in(store)
    report = store.backup(tmp_path / "some", collections=["other ü"])
    assert report.collections == {"other ü": 1}
    vecstore.restore(tmp_path / "some", tmp_path / "copy")
    with vecstore.open(tmp_path / "copy") as copy:
        assert copy.collections() == ["other ü"]
        assert copy.collection("other ü").count() == 1
    store.backup(tmp_path / "some")
    with pytest.raises(AlreadyExistsError, match="'docs'"):
        store.backup(tmp_path / "some", collections=["other ü"])
    with vecstore.open(tmp_path / "strange") as strange:
        strange.create_collection("docs")
        with pytest.raises(AlreadyExistsError, match="another store"):
            strange.backup(tmp_path / "some")
    with pytest.raises(NotFoundError, match="'nope'"):
        store.backup(tmp_path / "some", collections=["nope"])
    store.drop_collection("docs")
    assert store.backup(tmp_path / "some").collections == {"other ü": 1}
