"""Readers see whole versions that never change, while processes write, compact and collect."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import text

import vecstore
from tests.vecstore.test_concurrency import finish, row_ids_of, start
from vecstore.catalog.engine import Database, retried
from vecstore.errors import StorageError
from vecstore.testing.stores import CollectionModel, check_items, check_search

PAIRS, TOTAL = 4, 100


def accounts(store):
    """A collection of pairs of accounts; every commit leaves the sum of a pair as it is."""
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=2, metric="l2")
    ids = [f"{side}{n}" for n in range(PAIRS) for side in "ab"]
    amounts = [0, TOTAL] * PAIRS
    docs.upsert(ids=ids, vectors=[[amount, 1] for amount in amounts], metadata={"amount": amounts})
    return docs


def balances(reader):
    """Return the amounts by account, read from metadata and from vectors."""
    rows = [row for batch in reader.scan(spaces=["v1"]) for row in batch.to_pylist()]
    assert [row["v1"][0] for row in rows] == [row["amount"] for row in rows]
    return {row["id"]: row["amount"] for row in rows}


def test_transfers_between_accounts_lose_nothing_and_every_reader_sees_them_whole(place):
    with place.open() as store:
        docs = accounts(store)
        before = docs.version
        writers = [start(place, do="transfer", me=me, batches=8) for me in range(2)]
        watchers = [start(place, do="watch", me=before + 16, batches=0)]
        moved = sorted(tuple(move) for moves in finish(writers) for move in moves)
        seen = [view for views in finish(watchers) for view in views]
        docs.refresh()
        # Each acknowledged transfer is one version, and the versions are the transfers in order.
        assert [version for version, *_ in moved] == list(range(before + 1, before + 17))
        assert docs.version == before + 16
        expected = {before: balances(docs.at(before))}
        for version, pair, amount in moved:
            new = {f"a{pair}": amount, f"b{pair}": TOTAL - amount}
            expected[version] = expected[version - 1] | new
            assert balances(docs.at(version)) == expected[version]
            assert sum(expected[version].values()) == PAIRS * TOTAL
        assert len(seen) >= 2
        for version, state in seen:
            assert state == expected[version], version
        assert max(version for version, _ in seen) == before + 16
        rows = row_ids_of(docs)
        assert len(rows) == len(np.unique(rows)) == 2 * (PAIRS + 16)


def test_threads_read_one_version_each_while_others_write_and_compact(place):
    """A version that a thread holds answers alike as long as it is held, files gone or not."""
    with place.open() as store:
        docs, model = store.create_collection("docs"), CollectionModel()
        model.add_space(docs.create_space("v1", dim=3))
        rng = np.random.default_rng(0)
        states = {docs.version: model.copy()}
        stop, failures = threading.Event(), []

        def read():
            queries = np.random.default_rng(1).standard_normal((2, 3))
            try:
                while not stop.is_set():
                    held = docs.latest()
                    if held.version in states:
                        for _ in range(2):
                            check_items(held, states[held.version])
                            check_search(held, states[held.version], queries, space="v1", k=4)
            except BaseException as error:  # noqa: BLE001 - reported by the test
                failures.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for step in range(20):
            ids = [f"{n}" for n in rng.integers(0, 12, 4)]
            ids = list(dict.fromkeys(ids))
            vectors = rng.standard_normal((len(ids), 3))
            later = model.copy()
            later.upsert(ids, {"v1": vectors})
            states[docs.version + 1] = later
            docs.upsert(ids=ids, vectors=vectors)
            model = later
            if step % 4 == 3:
                states[docs.version + 1] = model
                docs.compact()
                docs.expire(keep_last=1)
                store.gc(grace=timedelta(seconds=5))
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []
        check_items(docs, model)


def test_a_reader_holds_its_version_through_compaction_expiry_and_collection(place):
    rng = np.random.default_rng(3)
    with place.open() as store, place.open() as other:
        docs, model = store.create_collection("docs"), CollectionModel()
        model.add_space(docs.create_space("v1", dim=4))
        ids = [f"{n}" for n in range(30)]
        vectors = rng.standard_normal((30, 4))
        for part in range(3):
            chosen = slice(part * 10, part * 10 + 10)
            docs.upsert(ids=ids[chosen], vectors=vectors[chosen], documents=ids[chosen])
            model.upsert(ids[chosen], {"v1": vectors[chosen]}, ids[chosen])
        held = docs.latest()
        queries = rng.standard_normal((5, 4))
        check_items(held, model)
        check_search(held, model, queries, space="v1", k=7)
        rival = other.collection("docs")
        rival.delete(ids[:12])
        rival.compact()
        rival.expire(keep_last=1)
        other.gc(grace=timedelta(0))
        check_items(held, model)
        check_search(held, model, queries, space="v1", k=7)
        model.delete(ids[:12])
        check_items(docs, model)
        assert docs.doctor().healthy


def test_connections_that_a_server_ends_are_made_again(postgres, new_database, tmp_path):
    url = new_database()
    database = url.rpartition("/")[2].partition("?")[0]
    stop, ended = threading.Event(), []

    def end_connections():
        while not stop.is_set():
            said = postgres.psql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                f"WHERE datname = '{database_of(url, database)}' AND pid <> pg_backend_pid();"
            )
            ended.append(int("".join(c for c in said.split("\n")[2] if c.isdigit())))
            time.sleep(0.25)

    with vecstore.open(url, data=tmp_path / "data", refresh_interval=0.0) as store:
        docs, model = store.create_collection("docs"), CollectionModel()
        model.add_space(docs.create_space("v1", dim=3))
        before = docs.version
        thread = threading.Thread(target=end_connections)
        thread.start()
        try:
            for n in range(40):
                vectors = np.random.default_rng(n).standard_normal((2, 3))
                docs.upsert(ids=[f"{n}", "same"], vectors=vectors)
                model.upsert([f"{n}", "same"], {"v1": vectors})
        finally:
            stop.set()
            thread.join()
        assert sum(ended) >= 2, "the server did end connections"
        assert docs.version == before + 40, "each commit was made once"
        check_items(docs, model)


def database_of(url, default):
    """Return the name of a database in a URL."""
    from sqlalchemy import make_url

    return make_url(url).database or default


def test_a_deadlock_is_broken_and_the_loser_tries_again(new_database):
    database = Database(new_database())
    with database.write() as connection:
        connection.execute(text("CREATE TABLE counters (name text PRIMARY KEY, n integer)"))
        connection.execute(text("INSERT INTO counters VALUES ('one', 0), ('two', 0)"))
    meet, attempts = threading.Barrier(2), {}

    @retried
    def add(first, second):
        attempts[first] = attempts.get(first, 0) + 1
        with database.write() as connection:
            for name in (first, second):
                connection.execute(
                    text("UPDATE counters SET n = n + 1 WHERE name = :name"), {"name": name}
                )
                if attempts[first] == 1 and name == first:
                    meet.wait()  # both hold what the other wants

    threads = [
        threading.Thread(target=add, args=names) for names in (("one", "two"), ("two", "one"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    with database.read() as connection:
        counters = dict(connection.execute(text("SELECT name, n FROM counters")).all())
    database.close()
    assert sorted(attempts.values()) == [1, 2]
    assert counters == {"one": 2, "two": 2}


def test_a_server_that_stays_away_is_an_error_without_a_traceback_of_its_driver(tmp_path):
    with pytest.raises(StorageError, match=r"nothing was committed|Retry"):
        vecstore.open("postgresql://nobody@127.0.0.1:1/none", data=tmp_path)
