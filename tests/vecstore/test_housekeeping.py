"""Compaction, expiry and garbage collection change no answer and lose no committed row."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import vecstore
from vecstore.catalog import VersionRecord
from vecstore.errors import CorruptFileError, InvalidArgumentError, NotFoundError, StorageError
from vecstore.housekeeping.retention import first_kept
from vecstore.housekeeping.segments import advice
from vecstore.testing.stores import CollectionModel, check_items, check_search

DIM = 8
NOW = timedelta(0)


def vectors(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, DIM))


def worn(store, commits=12, seed=0):
    """Return a collection of many small commits, with dead rows and replaced vectors, its model."""
    docs, model = store.create_collection("docs"), CollectionModel()
    model.add_space(docs.create_space("v1", dim=DIM))
    model.add_space(docs.create_space("v2", dim=DIM, metric="l2", supersedes="v1"))
    rng = np.random.default_rng(seed)
    for number in range(commits):
        ids = [f"{number}-{i}" for i in range(6)]
        new = {"v1": rng.standard_normal((6, DIM)), "v2": rng.standard_normal((6, DIM))}
        docs.upsert(ids=ids, vectors=new, documents=ids, metadata={"n": [number] * 6})
        model.upsert(ids, new, ids, [{"n": number}] * 6)
        docs.delete(ids[:2])
        model.delete(ids[:2])
        again = rng.standard_normal((2, DIM))
        docs.add_vectors(ids=ids[2:4], vectors=again, space="v2", on_existing="replace")
        model.add_vectors(ids[2:4], again, "v2", "replace")
    return docs, model


def check(reader, model, seed=5):
    check_items(reader, model)
    for space in model.spaces:
        check_search(reader, model, vectors(9, seed), space=space, k=11)


def files_of(docs):
    return {file.id for file in docs.refresh().snapshot.state.files}


def test_compaction_leaves_few_files_and_the_same_answers(place):
    with place.open() as store:
        docs, model = worn(store)
        before = docs.version
        report = docs.compact(dead_share=0)
        assert (report.version, docs.version) == (before + 1, before + 1)
        assert [(p.files, p.delete_files, p.dead) for p in docs.segments] == [(1, 0, 0)] * 3
        # Two items of six died each time, with their vectors; two more vectors were replaced.
        assert report.dropped == 12 * (2 + 2 + 2 + 2)
        assert report.files_before == 12 * (3 + 1 + 2)
        assert report.files_after == len(files_of(docs)) == 3
        check(docs, model)
        check(docs.at(before), model)
        again = docs.compact(dead_share=0)
        assert (again.files_before, again.version) == (0, before + 1)
    with place.open() as store:
        check(store.collection("docs"), model)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(store):
    docs, _ = worn(store)
    before = files_of(docs)
    report = docs.compact(dry_run=True)
    assert (report.files_before, report.files_after, report.dry_run) == (len(before), 0, True)
    assert docs.expire(keep_last=1, dry_run=True).expired == docs.version
    assert files_of(docs) == before
    docs.at(0)


def test_target_size_and_dead_share_decide_what_is_rewritten(store):
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=DIM)
    for number in range(6):
        ids = [f"{number}-{i}" for i in range(1000)]
        docs.upsert(ids=ids, vectors=vectors(1000, number), space="v1")
    one = next(f for f in docs.latest().snapshot.state.files if f.kind == "vectors").file.size
    docs.compact(target_bytes=2 * one + 1000)
    assert [p.files for p in docs.segments] == [1, 3]
    docs.delete([f"0-{i}" for i in range(300)])  # of the first 2,000 rows
    assert docs.compact(target_bytes=2 * one + 1000, dead_share=0.2).files_before == 0
    report = docs.compact(target_bytes=2 * one + 1000, dead_share=0.15)
    assert report.dropped >= 300
    vector_pile = docs.segments[1]
    assert (vector_pile.files, vector_pile.dead, vector_pile.rows) == (3, 0, 5700)
    with pytest.raises(InvalidArgumentError, match="dead_share"):
        docs.compact(dead_share=1.5)
    with pytest.raises(InvalidArgumentError, match="target_bytes"):
        docs.compact(target_bytes=0)


def test_deletes_that_still_kill_something_are_kept_and_folded(store):
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=DIM)
    model = CollectionModel()
    model.add_space(docs.spaces["v1"].space)
    ids = [f"{i}" for i in range(2000)]
    docs.upsert(ids=ids, vectors=(old := vectors(2000)), space="v1")
    model.upsert(ids, {"v1": old})
    for number in range(5):  # a few dead rows in a file that is large enough to stay
        docs.delete([f"{number}"])
        model.delete([f"{number}"])
        again = vectors(3, number + 9)
        docs.add_vectors(ids=ids[10:13], vectors=again, space="v1", on_existing="replace")
        model.add_vectors(ids[10:13], again, "v1", "replace")
    size = max(f.file.size for f in docs.latest().snapshot.state.files)
    held = docs.latest()
    docs.compact(target_bytes=size, dead_share=0.5)
    items, own = docs.segments
    assert (items.delete_files, own.files, own.delete_files) == (1, 2, 1)
    assert (items.files, items.dead, own.dead) == (1, 5, 8)
    check(docs, model)
    check(held, model)
    docs.delete(["20"])
    model.delete(["20"])
    check(docs, model)


def test_an_index_stays_in_use_and_exact_after_compaction(store):
    docs, model = worn(store)
    docs.build_index(space="v2", kind="flat")
    rows = len(model.items)
    again = vectors(4, 77)
    ids = list(model.items)[:4]
    docs.add_vectors(ids=ids, vectors=again, space="v2", on_existing="replace")
    model.add_vectors(ids, again, "v2", "replace")
    docs.upsert(ids=["late"], vectors={"v1": vectors(1, 3), "v2": vectors(1, 4)})
    model.upsert(["late"], {"v1": vectors(1, 3), "v2": vectors(1, 4)})
    docs.delete([ids[-1]])
    model.delete([ids[-1]])
    expected = [f"flat over {rows - 4:,} rows"]
    assert list(docs.explain(space="v2").indexes.values()) == expected
    docs.compact(dead_share=0)
    assert list(docs.explain(space="v2").indexes.values()) == expected
    check(docs, model)


def test_an_index_built_while_compaction_commits_is_not_believed_too_much(store):
    """It was built of vectors that were replaced before the compaction that dropped the deletes."""
    from vecstore.indexing import build_index, index_view, register_index

    docs, model = worn(store)
    snapshot = docs.latest().snapshot
    view = index_view(
        snapshot, "v2", into=None, execution="rewrite", translators=docs._latest.translators
    )
    slow = build_index(view, snapshot, kind="flat", parameters={}, progress=None)
    ids = list(model.items)[:5]
    docs.add_vectors(ids=ids, vectors=vectors(5, 8), space="v2", on_existing="replace")
    model.add_vectors(ids, vectors(5, 8), "v2", "replace")
    docs.compact(dead_share=0)
    register_index(docs._catalog, docs._record.id, slow)
    docs.refresh()
    expected = f"flat over {len(model.items) - 5:,} rows"
    assert list(docs.explain(space="v2").indexes.values()) == [expected]
    check(docs, model)


def test_what_others_commit_during_a_compaction_is_kept(place, monkeypatch):
    with place.open() as store, place.open() as other:
        docs, model = worn(store)
        rival, ids = other.collection("docs"), list(model.items)
        write, done = docs._writer.files.items, []

        def interrupted(table):
            if not done:
                done.append(True)
                rival.upsert(ids=ids[:3], vectors={"v1": vectors(3, 1), "v2": vectors(3, 2)})
                model.upsert(
                    ids[:3], {"v1": vectors(3, 1), "v2": vectors(3, 2)}, None, [{"n": None}] * 3
                )
                rival.add_vectors(
                    ids=ids[4:6], vectors=vectors(2, 3), space="v2", on_existing="replace"
                )
                model.add_vectors(ids[4:6], vectors(2, 3), "v2", "replace")
                rival.delete(ids[7:9])
                model.delete(ids[7:9])
            return write(table)

        class Files:
            def __getattr__(self, name):
                return interrupted if name == "items" else getattr(files, name)

        files = docs._writer.files
        monkeypatch.setattr(docs._writer, "files", Files())
        report = docs.compact(dead_share=0)
        assert report.files_after == 3, "the same files were committed after the others' commits"
        check(docs, model)
        rival.refresh()
        check(rival, model)
        docs.compact(dead_share=0)
        check(docs, model)


def test_of_two_compactions_at_once_both_succeed_and_one_wins(place, monkeypatch):
    with place.open() as store, place.open() as other:
        docs, model = worn(store)
        rival, commit = other.collection("docs"), docs._catalog.commit
        reports = []

        def late(*arguments):
            if not reports:
                reports.append(rival.compact(dead_share=0))
            return commit(*arguments)

        monkeypatch.setattr(docs._catalog, "commit", late)
        report = docs.compact(dead_share=0)
        assert reports[0].files_after == 3
        assert (report.files_before, report.version) == (0, reports[0].version)
        check(docs, model)


def test_a_row_reserved_before_and_committed_after_a_compaction_is_found(store, monkeypatch):
    """Its row ids then lie in a gap of the compacted file."""
    docs, model = worn(store, commits=2)
    build = docs._writer.commit
    held = [threading.Event(), threading.Event()]

    def slow(changes):
        if threading.current_thread() is writer:
            held[0].set()
            assert held[1].wait(30)
        return build(changes)

    monkeypatch.setattr(docs._writer, "commit", slow)
    late = {"v1": vectors(7, 1), "v2": vectors(7, 2)}
    ids = [f"late {i}" for i in range(7)]
    writer = threading.Thread(target=lambda: docs.upsert(ids=ids, vectors=late))
    writer.start()
    assert held[0].wait(30)
    docs.upsert(ids=["after"], vectors={"v1": vectors(1, 3), "v2": vectors(1, 4)})
    docs.compact(dead_share=0)
    held[1].set()
    writer.join()
    items = [f for f in docs.latest().snapshot.state.files if f.kind == "items"]
    outer, inner = sorted(items, key=lambda f: -f.rows)
    assert outer.min_row_id < inner.min_row_id < inner.max_row_id < outer.max_row_id
    # Rows come in the order of their ids, which the late writer reserved first.
    model.upsert(ids, late)
    model.upsert(["after"], {"v1": vectors(1, 3), "v2": vectors(1, 4)})
    check(docs, model)
    docs.compact(dead_share=0)
    assert docs.segments[0].files == 1
    check(docs, model)


def history(*minutes_ago):
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return moment, [
        VersionRecord(
            version=number, committed_at=moment - timedelta(minutes=ago), operation="x", rows=0
        )
        for number, ago in enumerate(minutes_ago)
    ]


@pytest.mark.parametrize(
    ("older_than", "keep_last", "first"),
    [
        (None, 1, 4),
        (None, 3, 2),
        (None, 99, 0),
        (0, None, 4),
        (15, None, 3),  # version 3 was the newest one until ten minutes ago
        (25, None, 2),
        (1000, None, 0),
        (15, 3, 2),
        (25, 1, 2),
    ],
)
def test_a_version_expires_when_every_limit_lets_it(older_than, keep_last, first):
    now, records = history(100, 50, 30, 20, 10)
    older = None if older_than is None else timedelta(minutes=older_than)
    assert first_kept(records, older_than=older, keep_last=keep_last, now=now) == first


def test_expiry_needs_a_limit_that_makes_sense(store):
    docs = store.create_collection("docs")
    for limits in ({}, {"keep_last": 0}, {"older_than": timedelta(-1)}):
        with pytest.raises(InvalidArgumentError):
            docs.expire(**limits)


def test_expired_versions_cannot_be_read_and_their_files_go_after_the_grace(place):
    with place.open() as store:
        docs, model = worn(store, commits=4)
        before, old = docs.version, files_of(docs)
        docs.compact(dead_share=0)
        kept = docs.latest()
        assert store.gc(grace=NOW).files == 0, "every version can be read"
        report = docs.expire(keep_last=1)
        assert (report.first_version, report.expired) == (before + 1, before + 1)
        assert [v.version for v in docs.versions() if not v.expired] == [before + 1]
        for version in (0, before):
            with pytest.raises(NotFoundError, match=f"expired.*{before + 1} to {before + 1}"):
                docs.at(version)
        assert store.gc(grace=timedelta(hours=1)).files == 0, "somebody may be reading them"
        planned = store.gc(grace=NOW, dry_run=True)
        done = store.gc(grace=NOW)
        assert (planned.paths, planned.bytes) == (done.paths, done.bytes)
        assert {Path(path).stem for path in done.paths} == old
        assert sum(done.kinds.values()) == done.files == len(old)
        assert store.gc(grace=NOW).files == 0
        check(docs, model)
        check(kept, model)
    with place.open() as store:
        docs = store.collection("docs")
        check(docs, model)
        docs.upsert(ids=["new"], vectors={"v1": vectors(1), "v2": vectors(1)})
        model.upsert(["new"], {"v1": vectors(1), "v2": vectors(1)})
        check(docs, model)


def test_a_process_that_slept_through_expiry_and_collection_wakes_to_the_truth(place):
    """It knows files whose removal the catalog has forgotten."""
    with place.open() as store, place.open(refresh_interval=3600) as sleeper:
        docs, model = worn(store, commits=4)
        asleep = sleeper.collection("docs")
        asleep.refresh()
        docs.compact(dead_share=0)
        docs.expire(keep_last=1)
        store.gc(grace=NOW)
        asleep.refresh()
        check(asleep, model)
        assert {f.id for f in asleep.latest().snapshot.state.files} == files_of(docs)


def test_a_reader_beyond_the_grace_is_told_that_its_version_may_have_expired(place):
    with place.open() as store, place.open(refresh_interval=3600) as sleeper:
        docs, _ = worn(store, commits=4)
        kept = sleeper.collection("docs").latest()
        docs.compact(dead_share=0)
        docs.expire(keep_last=1)
        store.gc(grace=NOW)
        with pytest.raises(CorruptFileError, match="expired while it was being read"):
            kept.search(vectors(1)[0], space="v1", k=3)


def test_a_reader_within_the_grace_loses_nothing(place):
    with place.open() as store, place.open() as other:
        docs, model = worn(store, commits=4)
        held = other.collection("docs").at(docs.version)  # nothing is opened yet
        docs.compact(dead_share=0)
        docs.expire(keep_last=1)
        store.gc(grace=timedelta(minutes=5))
        check(held, model)


def test_garbage_is_found_by_reachability_and_age(place):
    with place.open() as store:
        docs, model = worn(store, commits=2)
        docs.add_vectors(
            ids=list(model.items)[:2], vectors=vectors(2), space="v1", on_existing="replace"
        )
        model.add_vectors(list(model.items)[:2], vectors(2), "v1", "replace")
        index = docs.build_index(space="v1", kind="flat")
        docs.build_index(space="v1", kind="flat")
        folder = Path(place.data) / "data" / docs._record.directory
        orphans = [
            folder / "items" / f"{'a' * 32}.parquet",
            folder / "vectors" / "v1-0123" / f"{'b' * 32}.arrow",
            folder / "deletes" / f"{'c' * 32}.arrow",
            folder / "translators" / ("d" * 32) / "config.json",
            folder / "translated" / f"{'e' * 32}-rewrite" / f"{'f' * 32}.arrow",
            folder / "items" / f".{'a' * 32}.parquet.{'0' * 32}.tmp",
            folder.parent / "gone-12345678" / "items" / f"{'a' * 32}.parquet",
        ]
        foreign = [folder / "items" / "notes.txt", folder / "mine" / f"{'a' * 32}.parquet"]
        for path in (*orphans, *foreign):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"12345")
        assert store.gc(grace=timedelta(hours=1)).files == 0, "a writer may have just made them"
        old = time.time() - 7200
        for path in (*orphans, *foreign, folder / "indexes" / f"{index.id}.faiss"):
            os.utime(path, (old, old))
        report = store.gc(grace=timedelta(hours=1))
        assert report.files == len(orphans) + 1
        assert report.bytes == 5 * len(orphans) + index.file.size
        assert report.kinds == {
            "deletes": 1,
            "dropped": 1,
            "indexes": 1,
            "items": 1,
            "temporary": 1,
            "translated": 1,
            "translators": 1,
            "vectors": 1,
        }
        assert not any(path.exists() for path in orphans)
        assert all(path.exists() for path in foreign)
        check(docs, model)
        with pytest.raises(InvalidArgumentError, match="grace"):
            store.gc(grace=timedelta(-1))


def test_caches_of_living_translators_and_files_are_kept(store):
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=DIM)
    docs.create_space("v2", dim=DIM, supersedes="v1")
    ids = [f"{i}" for i in range(60)]
    docs.upsert(ids=ids, vectors=vectors(60), space="v1")
    docs.add_vectors(ids=ids[:40], vectors=vectors(40) @ np.eye(DIM)[::-1], space="v2")
    docs.fit_translator(source="v1", target="v2", family="procrustes")
    docs.search(vectors(1)[0], space="v2")
    folder = docs._root.folder / "data" / docs._record.directory / "translated"
    [cache] = folder.rglob("*.arrow")
    os.utime(cache, (0, 0))
    assert store.gc(grace=NOW).files == 0
    docs.drop_translator(docs.translators[0].id)
    docs.expire(keep_last=1)
    assert store.gc(grace=NOW).kinds == {"translated": 1, "translators": 3}
    assert not cache.exists()


def test_a_writer_whose_files_were_collected_is_refused(place, monkeypatch):
    with place.open() as store:
        docs, model = worn(store, commits=1)
        commit = docs._catalog.commit

        def late(*arguments):
            store.gc(grace=NOW)
            return commit(*arguments)

        monkeypatch.setattr(docs._catalog, "commit", late)
        with pytest.raises(StorageError, match="grace period"):
            docs.upsert(ids=["slow"], vectors={"v1": vectors(1)})
        monkeypatch.undo()
        check(docs, model)
        docs.upsert(ids=["slow"], vectors={"v1": vectors(1)})
        model.upsert(["slow"], {"v1": vectors(1)})
        check(docs, model)


def test_segments_count_files_and_dead_rows_and_advise(store):
    docs, _ = worn(store, commits=3)
    items, first, second = docs.segments
    assert (items.files, items.rows, items.dead, items.delete_files) == (3, 18, 6, 3)
    assert (first.space, first.files, first.dead, first.delete_files) == ("v1", 3, 6, 0)
    assert (second.files, second.rows, second.dead, second.delete_files) == (6, 24, 12, 3)
    assert "33% of the rows of the items are dead" in (advice(docs.segments) or "")
    docs.compact(dead_share=0)
    assert advice(docs.segments) is None


def test_dropped_spaces_are_reclaimed_once_no_version_has_them(store):
    docs, model = worn(store, commits=2)
    docs.drop_space("v2")
    model.drop_space("v2")
    docs.compact(dead_share=0)
    docs.expire(keep_last=1)
    store.gc(grace=NOW)
    folder = docs._root.folder / "data" / docs._record.directory
    assert [p.parent.name.split("-")[0] for p in folder.glob("vectors/*/*")] == ["v1"]
    check(docs, model)


def test_ids_are_indexed_once_however_often_they_are_compacted(store):
    docs, model = worn(store, commits=3)
    docs.get(list(model.items))
    known = sum(len(hashes) for hashes, _ in docs._latest.cache._id_index._runs)
    docs.compact(dead_share=0)
    docs.get(list(model.items))
    assert sum(len(hashes) for hashes, _ in docs._latest.cache._id_index._runs) == known == 18
    with vecstore.open(docs._root.folder) as fresh:
        check_items(fresh.collection("docs"), model)


def test_small_commits_are_merged_by_themselves_and_searches_stay_the_same(tmp_path):
    with vecstore.open(tmp_path, compact_after=8) as store:
        docs, model = worn(store, commits=30)
        check(docs, model)
        for pile in docs.segments:
            # Fewer than 8 of a tier, and one tier for each eightfold size.
            assert pile.files < 16
            assert pile.delete_files <= 8
        assert sum(v.operation == "compact" for v in docs.versions()) >= 6
    with vecstore.open(tmp_path, compact_after=None) as store:
        docs = store.collection("docs")
        before = docs.segments[0].files
        for number in range(12):
            docs.upsert(ids=[f"more {number}"])
        assert docs.segments[0].files == before + 12
    with pytest.raises(InvalidArgumentError, match="compact_after"):
        vecstore.open(tmp_path, compact_after=1)


def test_a_write_does_not_fail_because_compaction_does(tmp_path, monkeypatch, caplog):
    from vecstore.housekeeping import compaction

    def refuse(*_):
        raise StorageError("the disk is full")

    monkeypatch.setattr(compaction, "compact", refuse)
    with vecstore.open(tmp_path, compact_after=2) as store:
        docs, model = worn(store, commits=2)
        check(docs, model)
    assert "put off: the disk is full" in caplog.text
