"""A sample of the last queries is kept with the store, for other processes, as long as wanted."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vecstore
from vecstore.errors import InvalidArgumentError, StorageError
from vecstore.storage.root import LocalRoot
from vecstore.upgrade.recent import RecentQueries, keeps_queries

DIM, ROWS = 16, 1500


def vectors(n, seed=0, dim=DIM):
    rows = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def filled(store):
    docs = store.create_collection("docs")
    docs.create_space("v", dim=DIM)
    docs.upsert(ids=[f"{n}" for n in range(ROWS)], vectors=vectors(ROWS))
    return docs


def ask(docs, queries, space="v"):
    for query in queries:
        docs.search(query, space=space, k=3)


def kept_files(place):
    return sorted(place.data.glob("data/*/queries/*"))


def origin(docs, **options):
    return docs.build_index(space="v", kind="ivf_flat", recall=0.8, **options).report["origin"]


def test_another_process_tunes_on_the_queries_that_came(place):
    code = (
        "import sys, numpy as np, vecstore\n"
        "url, data, queries = sys.argv[1:]\n"
        "with vecstore.open(url, data=data) as store:\n"
        "    docs = store.collection('docs')\n"
        "    for query in np.load(queries):\n"
        "        docs.search(query, k=3)\n"
    )
    with place.open() as store:
        docs = filled(store)
        assert "in the place of queries" in origin(docs)
        ask(docs, vectors(30, seed=1))
        np.save(place.data / "queries.npy", vectors(120, seed=2))
        argv = [place.url, str(place.data), str(place.data / "queries.npy")]
        subprocess.run([sys.executable, "-W", "error", "-c", code, *argv], check=True, timeout=120)
        assert origin(docs) == "150 recent queries of 'v'"
    with place.open() as store:  # 30 more are not worth a file
        assert origin(store.collection("docs")) == "120 recent queries of 'v'"


def recent(tmp_path, *, kept=True):
    return RecentQueries(LocalRoot(tmp_path), "queries", kept=kept)


@given(st.lists(st.integers(1, 700), min_size=1, max_size=5), st.data())
def test_samples_of_several_processes_are_the_last_512_different_queries(
    tmp_path_factory, sizes, data
):
    folder = tmp_path_factory.mktemp("samples")
    processes = [recent(folder), recent(folder)]
    asked: list[bytes] = []
    for number, size in enumerate(sizes):
        queries = np.float32(vectors(size, seed=number, dim=3).astype(np.float16))
        process = data.draw(st.sampled_from(processes))
        process.add("space", queries)
        if size >= 32:
            process.save(lambda: {"space"})
            asked += [row.tobytes() for row in queries]
    known = recent(folder).of("space", least=1)
    last = list(dict.fromkeys(reversed(asked)))[:512]
    found = set() if known is None else {row.tobytes() for row in known}
    # Queries that waited for a file, being few, came with later ones.
    assert set(last[: 512 - 32 * len(sizes)]) <= found
    assert len(found) == (0 if known is None else len(known)) <= 512


def test_what_is_in_memory_and_in_the_file_is_one_query(tmp_path):
    process, queries = recent(tmp_path), vectors(100)
    process.add("s", queries)
    process.save(lambda: {"s"})
    np.testing.assert_array_equal(process.of("s", least=1), queries)
    other = recent(tmp_path)
    np.testing.assert_allclose(other.of("s", least=100), queries, atol=1e-3)
    assert other.of("s", least=101) is None
    other.add("s", vectors(40, seed=1))
    assert len(other.of("s", least=1)) == 140


def test_few_queries_write_no_file_and_half_precision_holds_what_is_written(tmp_path):
    process = recent(tmp_path)
    process.add("s", vectors(31))
    process.save(lambda: {"s"})
    assert not (tmp_path / "queries").exists()
    process.add("s", np.full((1, DIM), 1e9, np.float32))  # no float16
    process.save(lambda: {"s"})
    assert len(recent(tmp_path).of("s", least=1)) == 31
    assert (tmp_path / "queries" / "s.arrow").stat().st_size < 31 * DIM * 2 + 2000


@pytest.mark.parametrize("how", ["cut", "flipped", "another space's", "no file"])
def test_a_damaged_sample_is_ignored_with_a_word_in_the_log_and_written_anew(tmp_path, caplog, how):
    process = recent(tmp_path)
    for space in ("s", "t"):
        process.add(space, vectors(40, seed=len(space)))
    process.save(lambda: {"s", "t"})
    file = tmp_path / "queries" / "s.arrow"
    content = bytearray(file.read_bytes())
    if how == "cut":
        file.write_bytes(content[:-100])
    elif how == "flipped":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif how == "another space's":
        file.write_bytes((file.parent / "t.arrow").read_bytes())
    else:
        file.write_bytes(b"nothing of the kind")
    other = recent(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert other.of("s", least=1) is None
    assert "ignored" in caplog.text
    other.add("s", vectors(50, seed=5))
    other.save(lambda: {"s"})
    assert len(recent(tmp_path).of("s", least=1)) == 50


def test_a_disk_that_refuses_costs_no_search_and_no_flush(store_place, monkeypatch):
    with store_place.open() as store:
        docs = filled(store)

        def refuse(*_arguments, **_options):
            raise StorageError("the disk is full")

        monkeypatch.setattr("vecstore.upgrade.recent.write_vectors", refuse)
        ask(docs, vectors(40, seed=1))
        docs.flush()
        assert kept_files(store_place) == []


@pytest.mark.parametrize("how", ["drop", "retire", "drop the collection"])
def test_what_is_gone_takes_its_queries_with_it(store_place, how):
    with store_place.open() as store, store_place.open() as other:
        docs = filled(store)
        docs.create_space("w", dim=DIM)
        docs.upsert(ids=["w"], vectors=vectors(1), space="w")
        theirs = other.collection("docs")
        ask(docs, vectors(40, seed=1), space="w")
        theirs.search(vectors(40, seed=2), space="w", k=3)
        theirs.search(vectors(40, seed=2), space="v", k=3)
        docs.flush()
        assert len(kept_files(store_place)) == 1
        if how == "drop the collection":
            store.drop_collection("docs")
            left = 0
        else:
            docs.delete(["w"])
            docs.drop_space("w") if how == "drop" else docs.retire_space("w", force=True)
            left = 1
        assert kept_files(store_place) == []
        theirs._notes.flush()  # which had not heard of it
        assert len(kept_files(store_place)) == left


def test_garbage_collection_removes_samples_of_spaces_that_are_gone_and_no_others(store_place):
    with store_place.open() as store:
        docs = filled(store)
        ask(docs, vectors(40, seed=1))
        docs.flush()
        [file] = kept_files(store_place)
        stray = file.with_name(f"{'0' * 32}.arrow")
        stray.write_bytes(file.read_bytes())
        report = store.gc(grace=timedelta(0))
        assert report.kinds == {"queries": 1}
        assert kept_files(store_place) == [file]
        assert docs.doctor(grace=timedelta(0)).healthy


def test_a_backup_does_not_carry_queries(store_place, tmp_path):
    with store_place.open() as store:
        ask(filled(store), vectors(40, seed=1))
        store.collection("docs").flush()
        store.backup(tmp_path / "backup")
    assert kept_files(store_place)
    assert not [f for f in (tmp_path / "backup").rglob("*") if "queries" in f.parts]


@pytest.mark.parametrize("way", ["option", "environment"])
def test_queries_can_be_kept_to_oneself_and_then_none_are_left(store_place, monkeypatch, way):
    with store_place.open() as store:
        ask(filled(store), vectors(40, seed=1))
    assert len(kept_files(store_place)) == 1
    if way == "environment":
        monkeypatch.setenv("VECSTORE_KEEP_QUERIES", "0")
    with store_place.open(**({"keep_queries": False} if way == "option" else {})) as store:
        docs = store.collection("docs")
        ask(docs, vectors(120, seed=2))
        assert origin(docs) == "120 recent queries of 'v'"  # in memory they help as before
    assert kept_files(store_place) == []
    monkeypatch.setenv("VECSTORE_KEEP_QUERIES", "0")
    with store_place.open(keep_queries=True) as store:  # an option has the last word
        ask(store.collection("docs"), vectors(40, seed=3))
    assert len(kept_files(store_place)) == 1


def test_the_environment_says_yes_or_no(monkeypatch, tmp_path):
    for said, kept in {"1": True, "on": True, " No ": False, "false": False}.items():
        monkeypatch.setenv("VECSTORE_KEEP_QUERIES", said)
        assert keeps_queries(None) is kept
        assert keeps_queries(not kept) is not kept
    monkeypatch.setenv("VECSTORE_KEEP_QUERIES", "perhaps")
    with pytest.raises(InvalidArgumentError, match="VECSTORE_KEEP_QUERIES to be 0 or 1"):
        vecstore.open(tmp_path)
