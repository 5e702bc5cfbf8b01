"""A catalog is created once, kept when it is opened again, and never taken from others."""

from __future__ import annotations

import multiprocessing
import sqlite3

import numpy as np
import pytest
import sqlalchemy

import vecstore
from vecstore.catalog import migrations, tables
from vecstore.errors import SchemaVersionError, StorageError


def engine_of(place):
    url = place.url.replace("postgresql://", "postgresql+psycopg://")
    if "://" not in url:
        url = f"sqlite:///{place.url}/catalog.db"
    return sqlalchemy.create_engine(url)


def test_a_fresh_catalog_has_the_declared_tables_and_a_record_of_every_step(place):
    place.open().close()
    engine = engine_of(place)
    inspector = sqlalchemy.inspect(engine)
    assert set(inspector.get_table_names()) == set(tables.metadata.tables)
    for name, table in tables.metadata.tables.items():
        assert {c["name"] for c in inspector.get_columns(name)} == set(table.c.keys())
    with engine.connect() as connection:
        steps = connection.execute(sqlalchemy.select(tables.migrations)).all()
    engine.dispose()
    assert [(s.version, s.name) for s in steps] == [
        (n, step.__name__) for n, step in enumerate(migrations.STEPS, start=1)
    ]
    assert len(steps) == migrations.SCHEMA_VERSION


def test_a_catalog_that_is_opened_again_is_as_it_was(place):
    with place.open() as store:
        docs = store.create_collection("docs")
        profile = vecstore.EncodingProfile(document_prompt="passage: ", max_tokens=512)
        space = docs.create_space(
            "v", dim=2, metric="l2", model="m", revision="r", dtype="float16", profile=profile
        )
        docs.create_space("w", dim=1, supersedes="v")
        state = {"line": 7, "names": ["ü"], "nested": {"none": None}}
        checkpoint = vecstore.Checkpoint(job="job " * 60, state=state)
        docs.upsert(
            ids=["a"],
            vectors=[[1, 2]],
            space="v",
            documents=["text"],
            metadata={"n": [1]},
            checkpoint=checkpoint,
        )
        history, schema = docs.versions(), docs.schema
    for _ in range(2):
        with place.open() as store:
            assert store.collections() == ["docs"]
            docs = store.collection("docs")
            assert docs.versions() == history
            assert [v.operation for v in history] == [
                "create collection",
                "create space v",
                "create space w",
                "upsert",
            ]
            assert all(v.committed_at.tzinfo is not None for v in history)
            assert docs.schema == schema
            assert docs.spaces["v"].space == space
            assert docs.spaces["v"].fingerprint == space.fingerprint
            assert [s.generation for s in docs.spaces.values()] == [1, 2]
            assert docs.checkpoint("job " * 60) == state
            assert docs.search([1, 2], space="v").ids == ["a"]
            docs.clear_checkpoint("nothing")
    with place.open() as store:
        docs = store.collection("docs")
        docs.upsert(ids=[], checkpoint=vecstore.Checkpoint(job="empty", state={"at": 1}))
        assert docs.checkpoint("empty") == {"at": 1}, "a batch without rows moves its job too"
        docs.clear_checkpoint("empty")
        assert docs.checkpoint("empty") is None
        before = docs.version
        assert docs.upsert(ids=[]) == vecstore.WriteResult(version=before, rows=0)
        assert docs.version == before


def test_a_dropped_collection_leaves_nothing_and_its_name_is_free(place):
    with place.open() as store:
        for name in ("docs", "kept"):
            docs = store.create_collection(name)
            docs.create_space("v", dim=2)
            docs.upsert(ids=["a"], vectors=[[1, 2]])
        store.drop_collection("docs")
        assert store.collections() == ["kept"]
        [folder] = (place.data / "data").iterdir()
        assert folder.name.startswith("kept-")
        engine = engine_of(place)
        with engine.connect() as connection:
            for table in tables.metadata.sorted_tables:
                if "collection_id" in table.c:
                    owners = connection.execute(sqlalchemy.select(table.c.collection_id)).scalars()
                    assert set(owners) <= {store.collection("kept")._record.id}
        engine.dispose()
        again = store.create_collection("docs")
        assert (again.version, len(again), list(again.spaces)) == (0, 0, [])
        assert store.collection("kept").search([1, 2]).ids == ["a"]


def test_a_database_of_another_program_is_refused_and_left_alone(place):
    if "://" not in place.url:
        place.data.mkdir()
    engine = engine_of(place)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE files (mine INTEGER)"))
        connection.execute(sqlalchemy.text("INSERT INTO files VALUES (7)"))
    with pytest.raises(SchemaVersionError, match="of its own"):
        place.open()
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT mine FROM files")).scalar() == 7
    assert sqlalchemy.inspect(engine).get_table_names() == ["files"]
    engine.dispose()


def test_a_step_that_fails_leaves_no_trace(place, monkeypatch):
    """DDL is transactional in both databases, and the record belongs to the same transaction."""
    place.open().close()

    def half(connection):
        connection.execute(sqlalchemy.text("CREATE TABLE half (n INTEGER)"))
        connection.execute(sqlalchemy.text("SELECT * FROM nowhere"))

    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, half))
    monkeypatch.setattr(migrations, "SCHEMA_VERSION", 2)
    with pytest.raises(StorageError, match="nowhere"):
        place.open()
    monkeypatch.undo()
    engine = engine_of(place)
    assert "half" not in sqlalchemy.inspect(engine).get_table_names()
    engine.dispose()
    place.open().close()


def open_at_once(url, data, barrier, answers):
    try:
        barrier.wait(60)
        with vecstore.open(url, data=data) as store:
            store.create_collection("docs", exist_ok=True)
        answers.put("opened")
    except Exception as error:  # noqa: BLE001 - reported by the test
        answers.put(f"{type(error).__name__}: {error}")


def test_processes_that_open_a_new_store_at_once_all_can(place):
    spawn = multiprocessing.get_context("spawn")
    barrier, answers = spawn.Barrier(4), spawn.Queue()
    arguments = (place.url, place.data, barrier, answers)
    processes = [spawn.Process(target=open_at_once, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    assert [answers.get(timeout=90) for _ in processes] == ["opened"] * 4
    for process in processes:
        process.join()
    with place.open() as store:
        assert store.collections() == ["docs"]


def test_sqlite_is_durable_and_lets_readers_read(tmp_path):
    with vecstore.open(tmp_path) as store:
        docs = store.create_collection("docs")
        docs.create_space("v", dim=2)
        with store._catalog._database.read() as connection:
            pragmas = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
        assert pragmas == ["wal", 2, 1]
        writer = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        assert len(docs.refresh()) == 0, "a writer at work does not block readers"
        assert list(docs.search(np.ones(2))) == []
        writer.execute("ROLLBACK")
        writer.close()
