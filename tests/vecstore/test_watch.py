"""Watch: no commit stays unseen, whoever made it and whatever became of the WAL."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time

import pytest

import vecstore
from vecstore.catalog import watch as module
from vecstore.catalog.watch import Watch

DATABASE = "catalog.db"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def docs(store):
    return store.create_collection("docs")


def raw(folder):
    return sqlite3.connect(folder / DATABASE, isolation_level=None)


def seen_within(docs, number, seconds):
    """Wait until a reader that only looks at tokens sees a version."""
    deadline = time.monotonic() + seconds
    while docs._version().snapshot.version != number:
        assert time.monotonic() < deadline, "the commit stays unseen"
        time.sleep(0.001)


def settled(docs):
    """Wait until what is known keeps its token, so that nothing is asked again by itself."""
    deadline = time.monotonic() + 20
    while True:
        docs._version()
        time.sleep(2 * module._LOOK_AGAIN_S)
        if docs._catalog.change_token() == docs._latest._known.token:
            return
        assert time.monotonic() < deadline, "the token never settles"


def test_a_commit_of_another_process_is_seen_as_soon_as_it_is_acknowledged(folder, docs):
    code = (
        "import sys, vecstore\n"
        "with vecstore.open(sys.argv[1]) as store:\n"
        "    docs = store.collection('docs')\n"
        "    for n in range(20):\n"
        "        docs.upsert(ids=[f'{n}'])\n"
        "        print(docs.version, flush=True)\n"
        "        sys.stdin.readline()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        for n in range(20):
            number = int(process.stdout.readline())
            assert docs._version().snapshot.version == number
            assert len(docs) == n + 1
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0


def test_the_sign_is_given_when_the_commit_can_be_read_and_before_it_returns(
    folder, docs, monkeypatch
):
    """SQLite lets readers see a commit after the WAL was written, and after waiting for it."""
    given = []
    sign = Watch.sign

    def looked(self):
        with raw(folder) as connection:
            given.append(connection.execute("SELECT max(version) FROM collections").fetchone()[0])
        connection.close()
        before = docs._catalog.change_token()
        sign(self)
        assert docs._catalog.change_token() != before

    monkeypatch.setattr(Watch, "sign", looked)
    docs.upsert(ids=["a"])
    assert given[-1] == docs.version


@pytest.mark.parametrize("lost", ["by a kill", "by a folder in its place"])
def test_a_commit_without_a_sign_is_seen_by_the_files(folder, tmp_path, monkeypatch, lost):
    if lost == "by a folder in its place":
        (folder / f"{DATABASE}-sign").mkdir(parents=True)
    else:
        monkeypatch.setattr(Watch, "sign", lambda _: None)
    with vecstore.open(folder) as store, vecstore.open(folder) as other:
        docs = store.create_collection("docs")
        rival = other.collection("docs")
        for n in range(3):
            settled(docs)
            rival.upsert(ids=[f"{n}"])
            seen_within(docs, rival.refresh().version, seconds=20)


@pytest.mark.parametrize("mode", ["PASSIVE", "RESTART", "TRUNCATE"])
def test_a_checkpoint_hides_no_commit(folder, docs, monkeypatch, mode):
    monkeypatch.setattr(Watch, "sign", lambda _: None)
    with vecstore.open(folder) as other:
        rival = other.collection("docs")
        connection = raw(folder)
        for n in range(4):
            settled(docs)
            rival.upsert(ids=[f"{n}"])
            connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            seen_within(docs, rival.refresh().version, seconds=20)
            settled(docs)
        connection.close()


def test_a_wal_that_is_removed_and_made_again_hides_no_commit(tmp_path):
    """The last connection takes the WAL with it; what it held is in the database then."""
    path = str(tmp_path / DATABASE)

    def connect():
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        return connection

    connection = connect()
    connection.execute("CREATE TABLE t (n)")
    watch, tokens = Watch(path), set()
    for _ in range(5):
        time.sleep(2 * module._LOOK_AGAIN_S)
        tokens.add(watch.token())
        connection.execute("INSERT INTO t VALUES (1)")
        time.sleep(2 * module._LOOK_AGAIN_S)
        tokens.add(watch.token())
        connection.close()
        assert not (tmp_path / f"{DATABASE}-wal").exists()
        time.sleep(2 * module._LOOK_AGAIN_S)
        tokens.add(watch.token())
        connection = connect()
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t SELECT n FROM t")
        connection.execute("ROLLBACK")
    connection.close()
    assert len(tokens) == 15


def test_a_quiet_catalog_keeps_its_token_and_a_missing_one_has_none(folder, docs):
    settled(docs)
    token = docs._catalog.change_token()
    for _ in range(3):
        time.sleep(2 * module._LOOK_AGAIN_S)
        assert docs._catalog.change_token() == token
    assert Watch(str(folder / "nothing")).token() is None
    assert not (folder / "nothing-sign").exists()
