"""A store whose files are objects keeps the same contract, also when the object store fails."""

from __future__ import annotations

import itertools
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import vecstore
from tests.vecstore.object_store import BreakingProxy, ObjectServer
from vecstore.errors import CorruptFileError, InvalidArgumentError, StorageError
from vecstore.storage import remote
from vecstore.testing.stores import CollectionModel, check_items, check_search

DIM = 8
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server():
    running = ObjectServer()
    yield running
    running.stop()


@pytest.fixture
def proxy(server):
    running = BreakingProxy(server.port)
    yield running
    running.stop()


@pytest.fixture
def url(server, proxy, monkeypatch):
    """A new prefix, behind the proxy."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-the-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.01)
    bucket = f"bucket{next(NUMBERS)}"
    server.create_bucket(bucket)
    return f"s3://{bucket}/shop?endpoint_override=127.0.0.1:{proxy.port}&scheme=http&region=local"


def vectors(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, DIM))


def filled(store):
    docs, model = store.create_collection("docs"), CollectionModel()
    model.add_space(docs.create_space("v1", dim=DIM))
    model.add_space(docs.create_space("v2", dim=DIM, metric="l2", supersedes="v1"))
    for number in range(2):
        ids = [f"{number}-{i}" for i in range(30)]
        docs.upsert(ids=ids, vectors=vectors(30, number), space="v1", documents=ids)
        model.upsert(ids, {"v1": vectors(30, number)}, ids)
    docs.add_vectors(ids=ids, vectors=vectors(30, 7), space="v2")
    model.add_vectors(ids, vectors(30, 7), "v2", "skip")
    docs.delete(ids[:3])
    model.delete(ids[:3])
    return docs, model


def check(docs, model, spaces=("v1", "v2")):
    check_items(docs, model)
    for space in spaces:
        check_search(docs, model, vectors(9, 3), space=space, k=7)


def test_catalog_in_postgresql_and_files_in_s3_from_end_to_end(new_database, url, tmp_path):
    database = new_database()
    with vecstore.open(database, data=url, cache=tmp_path / "one") as store:
        docs, model = filled(store)
        check(docs, model)
        docs.build_index(space="v1", kind="flat")
        docs.fit_translator(source="v1", target="v2", family="procrustes")
        hits = docs.search(vectors(4, 9), space="v2", k=5)
        words = docs.search(vectors(1, 9)[0], text="0-1", space="v2", k=5)
    # Another machine: the same catalog, and an empty cache. Translations join searches of v2.
    with vecstore.open(database, data=url, cache=tmp_path / "two") as store:
        docs = store.collection("docs")
        check(docs, model, ["v1"])
        assert next(iter(docs.explain(space="v1").indexes.values())).startswith("flat over")
        assert [h.ids for h in docs.search(vectors(4, 9), space="v2", k=5)] == [h.ids for h in hits]
        assert docs.search(vectors(1, 9)[0], text="0-1", space="v2", k=5).ids == words.ids
        held = docs.latest()
        docs.compact(dead_share=0)
        check(docs, model, ["v1"])
        check(held, model, ["v1"])
        docs.expire(keep_last=1)
        assert store.gc(grace=timedelta(hours=1)).files == 0
        assert store.gc(grace=timedelta(0)).files > 0
        assert store.gc(grace=timedelta(0)).files == 0
        check(docs, model, ["v1"])
    with vecstore.open(database, data=url, cache=tmp_path / "three") as store:
        check(store.collection("docs"), model, ["v1"])
        store.drop_collection("docs")
        assert list(store._root.found("data")) == []


def test_a_backup_in_s3_is_restored_to_a_folder(url, tmp_path):
    with vecstore.open(tmp_path / "store") as store:
        _, model = filled(store)
        first = store.backup(url, cache=tmp_path / "cache")
        assert first.copied_files == first.files > 0
        assert store.backup(url, cache=tmp_path / "cache").copied_files == 0
    # Another machine, without what the first one has in its cache.
    vecstore.restore(url, tmp_path / "again", cache=tmp_path / "other")
    with vecstore.open(tmp_path / "again", create=False) as store:
        check(store.collection("docs"), model)


@pytest.mark.parametrize("fault", ["500", "503", "reset", "truncate", "slow"])
@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD"])
def test_what_fails_for_a_moment_is_tried_again(fault, method, url, proxy, tmp_path):
    with vecstore.open(tmp_path / "catalog", data=url, cache=tmp_path / "one") as store:
        if method == "PUT":
            proxy.order(method, fault, fault)
        docs, model = filled(store)
        check(docs, model)
    with vecstore.open(tmp_path / "catalog", data=url, cache=tmp_path / "two") as store:
        if method != "PUT":
            proxy.order(method, fault, fault)
        check(store.collection("docs"), model)
    assert proxy.suffered[fault] > 0 or method == "GET", "the fault never struck"


def test_a_store_that_stays_away_is_an_error_that_commits_nothing(url, proxy, tmp_path):
    with vecstore.open(tmp_path / "catalog", data=url, cache=tmp_path / "one") as store:
        docs, model = filled(store)
        before = docs.version
        proxy.order("PUT", *["503"] * 50)
        with pytest.raises(StorageError, match="nothing was committed") as caught:
            docs.upsert(ids=["new"], vectors=vectors(1), space="v1")
        assert "secret-of-the-test" not in str(caught.value)
        proxy.forget()
        assert docs.version == before
        check(docs, model)
        docs.upsert(ids=["new"], vectors=vectors(1), space="v1")
        model.upsert(["new"], {"v1": vectors(1)})
        check(docs, model)


def test_a_damaged_or_missing_object_is_told_from_a_bad_transfer(url, tmp_path):
    with vecstore.open(tmp_path / "catalog", data=url, cache=tmp_path / "one") as store:
        docs, _ = filled(store)
        root = store._root
        file = next(f for f in docs.latest().snapshot.state.files if f.kind == "vectors")
        path = file.file.path
        content = root._system.open_input_file(root._key(path)).read()
        with root._system.open_output_stream(root._key(path)) as sink:
            sink.write(content[:-1] + bytes([content[-1] ^ 1]))
    with vecstore.open(tmp_path / "catalog", data=url, cache=tmp_path / "two") as store:
        with pytest.raises(CorruptFileError, match="checksum"):
            store.collection("docs").search(vectors(1)[0], space="v1")
        store._root.remove(path)
        with pytest.raises(CorruptFileError, match="missing"):
            store.collection("docs").search(vectors(1)[0], space="v1")


def test_a_damaged_cache_is_fetched_again_and_a_warm_one_asks_for_nothing(url, proxy, tmp_path):
    with vecstore.open(tmp_path / "catalog", data=url, cache=tmp_path / "one") as store:
        _, model = filled(store)
    before = sum(proxy.seen.values())
    with vecstore.open(tmp_path / "catalog", data=url, cache=tmp_path / "one") as store:
        check(store.collection("docs"), model)
    assert sum(proxy.seen.values()) == before
    cached = [path for path in (tmp_path / "one" / "content").rglob("*") if path.is_file()]
    for number, path in enumerate(cached):
        content = path.read_bytes()
        path.write_bytes(content[:-1] if number % 2 else bytes([content[0] ^ 1]) + content[1:])
    with vecstore.open(tmp_path / "catalog", data=url, cache=tmp_path / "one") as store:
        check(store.collection("docs"), model)
    assert sum(proxy.seen.values()) > before


def test_the_cache_stays_within_its_bounds_and_keeps_what_was_used_last(url, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_IN_USE_S", 0)
    root = remote.open_remote(url, cache=tmp_path / "cache", cache_bytes=3500)
    files = [
        root.write(f"data/{n}", lambda sink, n=n: sink.write(bytes([n]) * 1000)) for n in range(3)
    ]
    assert root.map(files[0]).to_pybytes() == bytes([0]) * 1000
    files.append(root.write("data/3", lambda sink: sink.write(b"x" * 1000)))
    cached = {path.name for path in (tmp_path / "cache" / "content").rglob("*") if path.is_file()}
    assert cached == {f"{file.checksum}-1000" for file in (files[0], files[2], files[3])}
    assert all(root.map(file).size == 1000 for file in files), "what was evicted is fetched again"


def test_processes_and_threads_may_share_a_cache(url, tmp_path):
    roots = [remote.open_remote(url, cache=tmp_path / "cache", cache_bytes=5000) for _ in range(3)]
    files = [
        roots[0].write(f"data/{n}", lambda sink, n=n: sink.write(bytes([n]) * 1000))
        for n in range(12)
    ]
    failures = []

    def read(root, seed):
        try:
            for number in np.random.default_rng(seed).integers(0, 12, 40):
                assert root.map(files[number]).to_pybytes() == bytes([number]) * 1000
        except BaseException as error:  # noqa: BLE001 - reported by the test
            failures.append(error)

    threads = [threading.Thread(target=read, args=(root, n)) for n, root in enumerate(roots)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("s3://key:hunter2@bucket/x?colour=blue", "colour"),
        ("nonsense://key:hunter2@bucket/x", "expected a folder"),
        ("s3://key:hunter2@bucket/x?scheme=gopher", "expected a folder"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_credentials(place, says, tmp_path):
    with pytest.raises(InvalidArgumentError, match=says) as caught:
        vecstore.open(tmp_path, data=place)
    assert "hunter2" not in str(caught.value)
    assert Path(tmp_path / "catalog.db").exists() is False


def test_credentials_in_a_url_appear_in_no_message(url, proxy, tmp_path):
    place = url.replace("s3://", "s3://key:hunter2@")
    with vecstore.open(tmp_path / "catalog", data=place, cache=tmp_path / "one") as store:
        docs = store.create_collection("docs")
        assert "hunter2" not in repr(store._root)
        proxy.order("PUT", *["403"] * 9)
        with pytest.raises(StorageError, match="credentials") as caught:
            docs.upsert(ids=["a"])
        assert "hunter2" not in str(caught.value)
