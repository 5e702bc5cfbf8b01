"""Damaged files are found by checksum and named; nothing wrong is ever served.

Every kind of file is damaged in every way. What was committed is refused with an error that names
the file and the remedy; what can be made again is made again, or search does without it.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import suppress

import pytest

import vecstore
from tests.vecstore.whole_store import (
    DAMAGES,
    TRUTH,
    files,
    inflict,
    make_store,
    same,
    use_everything,
)
from vecstore import segment_cache
from vecstore.errors import CorruptFileError, SchemaVersionError, VecstoreError


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("corruption") / "store")


@pytest.fixture(scope="module")
def truth(template):
    return use_everything(template)


@pytest.fixture
def folder(template, tmp_path):
    """A closed store with every kind of file in it."""
    return shutil.copytree(template, tmp_path / "store")


def without_caches(folder):
    """Take away what would spare a search to look at a file."""
    for kind in ("translated", "lexical"):
        for cache in (folder / "data").glob(f"*/{kind}"):
            shutil.rmtree(cache)


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("kind", TRUTH)
def test_a_damaged_file_is_named_and_not_served(folder, truth, kind, name):
    found = files(folder, kind)
    for victim in found[:3]:
        other = next(p for p in found[::-1] if p != victim)
        whole = inflict(victim, DAMAGES[name], other)
        without_caches(folder)
        with pytest.raises(CorruptFileError, match=victim.name) as refusal:
            use_everything(folder)
        assert "backup" in str(refusal.value)
        victim.write_bytes(whole)
    same(use_everything(folder), truth)


@pytest.mark.parametrize("damaged", [(0,), (3,), (1, 2)])
def test_of_files_that_are_verified_at_once_the_first_damaged_one_is_named(
    tmp_path, monkeypatch, damaged
):
    monkeypatch.setattr(segment_cache, "WORTH_THREADS", 1)
    with vecstore.open(tmp_path) as store:
        docs = store.create_collection("docs")
        docs.create_space("v", dim=2, metric="ip")
        for n in range(4):
            docs.upsert(ids=[f"{n}"], vectors=[[1, n]], space="v")
        state = docs.latest().snapshot.state
        order = [file.file.path for file in state.files if file.kind == "vectors"]
    whole = {}
    for number in damaged:
        victim = tmp_path / order[number]
        whole[victim] = inflict(victim, DAMAGES["middle bit flipped"], victim)
    with vecstore.open(tmp_path) as store:
        docs = store.collection("docs")
        for _ in range(2):
            with pytest.raises(CorruptFileError, match=order[damaged[0]]):
                docs.search([1, 0])
        for victim, content in whole.items():
            victim.write_bytes(content)
        assert docs.search([0, 1], k=2).ids == ["3", "2"]


def test_a_file_swapped_with_one_of_another_generation_is_refused(folder):
    """The two spaces have one dimension, so only checksums and labels tell their files apart."""
    spaces = {p.parent.name.rpartition("-")[0]: p for p in files(folder, "vectors")}
    old, new = spaces["v1"], spaces["v2"]
    for victim, other in ((old, new), (new, old)):
        whole = inflict(victim, DAMAGES["swapped"], other)
        without_caches(folder)
        with pytest.raises(CorruptFileError, match=victim.name):
            use_everything(folder)
        victim.write_bytes(whole)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_index_is_left_out_and_the_plan_says_so(folder, truth, name):
    victim, other = files(folder, "indexes")
    inflict(victim, DAMAGES[name], other)
    same(use_everything(folder), truth)
    with vecstore.open(folder) as store:
        docs = store.collection("docs")
        plans = [docs.explain(space=space).indexes for space in ("v1", "v2")]
        assert sum(map(len, plans)) == 1, "the other index is whole"


def test_an_index_of_another_space_is_left_out_though_its_checksum_is_right(folder, truth):
    """A space that was dropped and made anew under its name is another space."""
    edit(folder, "UPDATE indexes SET space_id = 'gone'")
    same(use_everything(folder), truth)
    with vecstore.open(folder) as store:
        assert store.collection("docs").explain(space="v1").indexes == {}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("kind", ["translated", "lexical"])
def test_a_damaged_cache_is_made_again(folder, truth, kind, name):
    for victim in files(folder, kind):
        if not victim.exists():
            continue  # the cache was made anew, with other names
        others = [p for p in files(folder, kind) if p != victim]
        alike = [p for p in others if p.suffix == victim.suffix]
        inflict(victim, DAMAGES[name], (alike or others)[-1])
        same(use_everything(folder), truth)
    without = {p.name for p in files(folder, kind)}
    same(use_everything(folder), truth)
    assert {p.name for p in files(folder, kind)} == without, "and then it is whole"


@pytest.mark.parametrize("kind", ["translated", "lexical", "indexes"])
def test_caches_of_another_collection_are_not_taken(folder, tmp_path, truth, kind):
    """A whole folder of caches from a store that holds other vectors under the same names."""
    with vecstore.open(folder) as store:
        docs = store.collection("docs")
        docs.upsert(ids=["1-7"], vectors=[[9, 1, 1, 1, 1, 1]], space="v1", documents=["word9"])
        store.collection("docs").search([1] * 6, space="v2", text="word9")
    other = shutil.copytree(folder, tmp_path / "other")
    newer = use_everything(folder)
    shutil.rmtree(next((folder / "data").glob(f"*/{kind}")))
    target = next((folder / "data").iterdir()) / kind
    shutil.copytree(next((other / "data").glob(f"*/{kind}")), target)
    same(use_everything(folder), newer)


def test_files_that_nothing_refers_to_disturb_nobody(folder, truth):
    for kind in ("items", "vectors", "deletes"):
        victim = files(folder, kind)[0]
        victim.with_name("stray" + victim.suffix).write_bytes(b"rubbish")
        victim.with_name(f".{victim.name}.0.tmp").write_bytes(b"half")
    same(use_everything(folder), truth)


def query(folder, sql, *values):
    connection = sqlite3.connect(folder / "catalog.db")
    rows = connection.execute(sql, values).fetchall()
    connection.close()
    return rows


def edit(folder, sql, *values):
    connection = sqlite3.connect(folder / "catalog.db")
    with connection:
        connection.execute(sql, values)
    connection.close()


def test_a_catalog_that_points_outside_the_root_is_refused(folder, tmp_path):
    for path in ("../secret", "/etc/passwd", "data/../../secret", ""):
        copy = tmp_path / f"copy {len(path)}"
        shutil.copytree(folder, copy)
        edit(copy, "UPDATE files SET path = ? WHERE kind = 'vectors'", path)
        with pytest.raises(CorruptFileError, match="outside the data root"):
            use_everything(copy)


def test_a_vector_file_of_another_space_is_refused_though_its_checksum_is_right(folder):
    by_space = dict(query(folder, "SELECT space_id, id FROM files WHERE kind = 'vectors'"))
    (_, file), (other, _) = by_space.items()
    edit(folder, "UPDATE files SET space_id = ? WHERE id = ?", other, file)
    with pytest.raises(CorruptFileError, match="belongs to something else"):
        use_everything(folder)


def test_a_store_of_a_newer_vecstore_is_refused(folder):
    edit(folder, "INSERT INTO migrations VALUES (2, 'later', '2030-01-01 00:00:00')")
    with pytest.raises(SchemaVersionError, match="upgrade vecstore"):
        vecstore.open(folder)
    edit(folder, "UPDATE migrations SET version = 3 WHERE version = 2")
    with pytest.raises(SchemaVersionError, match="backup"):
        vecstore.open(folder)


def test_a_damaged_catalog_raises_and_answers_nothing(folder, truth):
    database = folder / "catalog.db"
    whole = database.read_bytes()
    refused = 0
    for start in range(0, len(whole), 4096):
        damaged = bytearray(whole)
        damaged[start : start + 4096] = b"\xff" * 4096
        database.write_bytes(bytes(damaged))
        try:
            same(use_everything(folder), truth)  # a page that was not needed
        except VecstoreError:
            refused += 1
    assert refused > 5
    for content in (whole[: len(whole) // 2], b"", bytes(len(whole)), b"text" * 3000):
        database.write_bytes(content)
        with pytest.raises(VecstoreError) as refusal:
            use_everything(folder)
        assert "docs" in str(refusal.value) or (
            "catalog.db" in str(refusal.value) and "backup" in str(refusal.value)
        )
    database.write_bytes(whole)
    same(use_everything(folder), truth)


def test_bits_that_turn_in_a_catalog_never_end_in_a_crash(folder):
    """SQLite keeps no checksums: a turned bit may be harmless or found, but no bug's traceback."""
    database = folder / "catalog.db"
    whole = database.read_bytes()
    generator = random.Random(4)
    for _ in range(30):
        damaged = bytearray(whole)
        damaged[generator.randrange(100, len(whole))] ^= 1 << generator.randrange(8)
        database.write_bytes(bytes(damaged))
        with suppress(VecstoreError):
            use_everything(folder)


def test_the_seal_of_words_lists_what_it_seals(folder):
    [seal] = (folder / "data").glob("*/lexical/*/seal.json")
    sealed = set(json.loads(seal.read_text()))
    assert {p.name for p in files(folder, "lexical")} == sealed | {"seal.json"}
