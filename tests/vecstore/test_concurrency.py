"""Writers in several processes and threads lose nothing, and readers see one version each."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import vecstore
from vecstore.catalog import Changes
from vecstore.errors import CommitConflictError, NotFoundError, SpaceMismatchError
from vecstore.testing.stores import CollectionModel, check_items, check_search

WRITER = Path(__file__).with_name("writer_process.py")
DIM = 8


def start(place, **task) -> subprocess.Popen[str]:
    task |= {"url": place.url, "data": str(place.data)}
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(WRITER), json.dumps(task)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(processes):
    acknowledged = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        acknowledged.append([json.loads(line) for line in out.splitlines()])
    return acknowledged


def new_collection(store):
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=DIM)
    docs.create_space("v2", dim=DIM, metric="l2", supersedes="v1")
    return docs


def row_ids_of(docs):
    """Return every row id that was ever committed, with repeats."""
    snapshot = docs.refresh()._version().snapshot
    tables = snapshot.whole_columns(["row_id"])
    return pa.concat_tables(tables).column("row_id").to_numpy()


def test_processes_that_write_at_once_lose_no_update(place):
    with place.open() as store:
        docs = new_collection(store)
        before = docs.version
        writers = [start(place, do="write_own_rows", me=me, batches=8) for me in range(4)]
        acknowledged = finish(writers)
        docs.refresh()
        ids = [name for batches in acknowledged for batch in batches for name in batch]
        assert len(ids) == len(set(ids)) == 160 == len(docs)
        assert docs.version == before + 32, "one version for each acknowledged batch"
        assert len(docs.get(ids, spaces=["v1"])) == 160
        assert [docs.count(f"who = {me}") for me in range(4)] == [40] * 4
        rows = row_ids_of(docs)
        assert len(rows) == len(np.unique(rows)) == 160
        assert sum(v.rows for v in docs.versions()) == 160


def test_processes_that_upsert_the_same_items_leave_one_row_of_each(place):
    with place.open() as store:
        docs = new_collection(store)
        docs.upsert(ids=[f"shared-{i}" for i in range(6)], metadata={"who": [-1] * 6})
        before = docs.version
        writers = [start(place, do="write_shared_rows", me=me, batches=6) for me in range(3)]
        writers.append(start(place, do="attach", me=9, batches=6))
        acknowledged = finish(writers)
        docs.refresh()
        versions = [version for batches in acknowledged for version in batches]
        assert sorted(versions) == list(range(before + 1, before + 25)), "each commit its own"
        assert len(docs) == 6
        items = docs.get([f"shared-{i}" for i in range(6)], spaces=["v1"])
        # One upsert writes all six at once, so they all come from the same writer and batch.
        assert len({(item.document, item.metadata["who"]) for item in items}) == 1
        # Every version in between was whole as well.
        for version in range(before + 1, docs.version + 1):
            then = docs.at(version)
            assert len(then) == then.count() == 6
            assert then.spaces["v1"].native == (6 if then.count("who >= 0") else 0)
            assert then.spaces["v2"].native in (0, 6)
        rows = row_ids_of(docs)
        assert len(rows) == len(np.unique(rows)) == 6 + 18 * 6


def test_two_handles_in_one_process_see_each_other(place):
    with place.open() as store, place.open() as other:
        docs = new_collection(store)
        rival = other.collection("docs")
        rival.upsert(ids=["a"], vectors=np.eye(1, DIM), space="v1")
        assert docs.search(np.ones(DIM), space="v1").ids == ["a"]
        docs.delete(["a"])
        assert len(rival) == 0
        with pytest.raises(NotFoundError):
            rival.get("a")
        docs.create_space("v3", dim=2)
        assert list(rival.spaces) == ["v1", "v2", "v3"]
        store.rename_collection("docs", "papers")
        assert docs.name == rival.name == "papers"
        assert rival.versions()[-1].operation == "rename to papers"
        assert other.collections() == ["papers"]
        store.drop_collection("papers")
        with pytest.raises(NotFoundError, match="dropped"):
            rival.refresh()


def test_threads_share_a_handle(place):
    with place.open() as store:
        docs = new_collection(store)
        failures = []

        def work(me):
            try:
                for number in range(4):
                    ids = [f"{me}-{number}-{i}" for i in range(3)]
                    docs.upsert(ids=ids, vectors=np.eye(3, DIM), space="v1")
                    assert ids[0] in docs.search(np.eye(1, DIM)[0], space="v1", k=200).ids
                    docs.delete(ids[2:])
            except BaseException as error:  # noqa: BLE001 - reported by the test
                failures.append(error)

        threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(docs) == 32
        assert docs.spaces["v1"].native == 32


def test_a_commit_on_an_old_version_is_refused_and_changes_nothing(place):
    with place.open() as store:
        docs = new_collection(store)
        stale = docs.version
        docs.upsert(ids=["a"])
        catalog, collection = docs._catalog, docs._record.id
        before = catalog.state(collection)
        with pytest.raises(CommitConflictError, match="another writer"):
            catalog.commit(collection, stale, Changes(operation="late"))
        assert catalog.state(collection) == before
        assert len(docs.versions()) == docs.version + 1


def test_a_reader_keeps_its_version_while_others_write(place):
    rng = np.random.default_rng(0)
    with place.open() as store, place.open() as other:
        docs, model = new_collection(store), CollectionModel()
        for status in docs.spaces.values():
            model.add_space(status.space)
        ids = [f"{i}" for i in range(40)]
        vectors = {"v1": rng.standard_normal((40, DIM)), "v2": rng.standard_normal((40, DIM))}
        docs.upsert(ids=ids, vectors=vectors, metadata={"n": list(range(40))})
        model.upsert(ids, vectors, None, [{"n": n} for n in range(40)])
        held, number = docs.latest(), docs.version
        scan = held.scan(spaces=["v1"], batch_rows=7)
        first = next(scan)
        queries = rng.standard_normal((9, DIM))

        rival = other.collection("docs")
        rival.upsert(ids=ids[:10], vectors=vectors["v1"][10:20], space="v1")
        rival.delete(where="n >= 30")
        rival.add_vectors(ids=ids[10:15], vectors=queries[:5], space="v2", on_existing="replace")
        rival.upsert(ids=["new"], vectors=queries[:1], space="v1", metadata={"late": ["x"]})
        rival.build_index(space="v1", kind="flat")
        rival.drop_space("v2")

        assert docs.version == number + 5
        for reader in (held, docs.at(number), rival.at(number)):
            check_items(reader, model)
            for space in ("v1", "v2"):
                check_search(reader, model, queries, space=space, k=9)
                check_search(
                    reader,
                    model,
                    queries[0],
                    space=space,
                    k=9,
                    where="n < 12",
                    keep=lambda item: item.metadata["n"] < 12,
                )
        assert [name for batch in [first, *scan] for name in batch.column("id").to_pylist()] == ids


def test_a_write_prepared_for_a_space_that_was_replaced_is_refused(new_database, tmp_path):
    """The writer last looked a while ago, as it may under PostgreSQL."""
    url, data = new_database(), tmp_path / "data"
    with (
        vecstore.open(url, data=data, refresh_interval=3600) as store,
        vecstore.open(url, data=data, refresh_interval=0.0) as other,
    ):
        docs = new_collection(store)
        docs.upsert(ids=["a"])
        rival = other.collection("docs")
        rival.drop_space("v2")
        rival.create_space("v2", dim=3, model="another")
        # Refused whatever the dimension: the vectors were embedded for the space that is gone.
        for write in (
            lambda: docs.upsert(ids=["b"], vectors=np.ones((1, DIM)), space="v2"),
            lambda: docs.add_vectors(ids=["a"], vectors=np.ones((1, DIM)), space="v2"),
        ):
            stale = docs._latest.at(2)
            docs._latest._known = docs._latest._known._replace(
                version=stale, checked_at=time.monotonic()
            )
            assert stale.snapshot.space("v2").space.dim == DIM
            with pytest.raises(SpaceMismatchError, match="replaced"):
                write()
        assert len(rival) == 1
        assert rival.spaces["v2"].native == 0


def test_the_token_of_a_catalog_that_is_being_written_never_repeats(store):
    """Two commits within one tick of the clock must not look like one."""
    docs = new_collection(store)
    tokens = []
    for _ in range(20):
        docs._catalog.replace_index(docs._record.id, None)
        tokens += [docs._catalog.change_token(), docs._catalog.change_token()]
    # Within the tick of a commit no token is taken for the last one.
    assert len(set(tokens[::2])) == 20
    deadline = time.monotonic() + 5
    while docs._catalog.change_token() != docs._catalog.change_token():
        assert time.monotonic() < deadline, "a quiet catalog keeps its token"
