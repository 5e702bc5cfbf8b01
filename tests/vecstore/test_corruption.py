"""Damaged files are found by checksum and named; nothing wrong is ever served."""

from __future__ import annotations

import shutil
import sqlite3

import numpy as np
import pytest

import vecstore
from vecstore.errors import CorruptFileError, SchemaVersionError, VecstoreError

N, DIM = 60, 6


@pytest.fixture
def folder(tmp_path):
    """A closed store with every kind of file in it, and the right answers."""
    rng = np.random.default_rng(0)
    with vecstore.open(tmp_path / "store") as store:
        docs = store.create_collection("docs")
        docs.create_space("v1", dim=DIM)
        docs.create_space("v2", dim=DIM, supersedes="v1")
        for part in range(2):
            ids = [f"{part}-{i}" for i in range(N)]
            vectors = {"v1": rng.standard_normal((N, DIM))}
            docs.upsert(ids=ids, vectors=vectors, documents=ids, metadata={"n": list(range(N))})
        docs.delete([f"0-{i}" for i in range(5)])
        docs.add_vectors(ids=ids[:40], vectors=rng.standard_normal((40, DIM)), space="v2")
        docs.add_vectors(
            ids=ids[:3], vectors=rng.standard_normal((3, DIM)), space="v2", on_existing="replace"
        )
        docs.fit_translator(source="v1", target="v2", family="ridge")
        docs.build_index(space="v1", kind="flat")
    return tmp_path / "store"


def use_everything(folder):
    """Read through every file; return what was answered."""
    queries = np.random.default_rng(1).standard_normal((9, DIM))
    with vecstore.open(folder) as store:
        docs = store.collection("docs")
        answers = [docs.search(queries, space=name, k=50, where="n < 55") for name in ("v1", "v2")]
        table = [row for batch in docs.scan(spaces=["v1", "v2"]) for row in batch.to_pylist()]
        return [a.ids.tolist() for a in answers], [a.scores.tolist() for a in answers], table


def files(folder, kind):
    found = sorted(p for p in (folder / "data").glob(f"*/{kind}/**/*") if p.is_file())
    assert found
    return found


def empty(content, _):
    return b""


def cut(content, _):
    return content[:-7]


def grow(content, _):
    return content + b"\0"


def flip_first(content, _):
    return bytes([content[0] ^ 1]) + content[1:]


def flip_middle(content, _):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


def flip_last(content, _):
    return content[:-1] + bytes([content[-1] ^ 0x80])


def swap(content, other):
    return other


@pytest.mark.parametrize(
    "damage", [empty, cut, grow, flip_first, flip_middle, flip_last, swap, None]
)
@pytest.mark.parametrize("kind", ["items", "vectors", "deletes", "translators"])
def test_a_damaged_file_is_named_and_not_served(folder, kind, damage):
    truth = use_everything(folder)
    for victim in files(folder, kind)[:2]:
        whole = victim.read_bytes()
        if damage is None:
            victim.unlink()
        else:
            others = [p for p in files(folder, kind) if p != victim]
            victim.write_bytes(damage(whole, others[-1].read_bytes()))
        shutil.rmtree(next((folder / "data").glob("*/translated")), ignore_errors=True)
        with pytest.raises(CorruptFileError, match=victim.name) as refusal:
            use_everything(folder)
        assert "backup" in str(refusal.value)
        victim.write_bytes(whole)
        assert use_everything(folder) == truth


@pytest.mark.parametrize("damage", [empty, cut, flip_first, flip_middle, flip_last, None])
def test_a_damaged_index_is_left_out(folder, damage):
    truth = use_everything(folder)
    [victim] = files(folder, "indexes")
    if damage is None:
        victim.unlink()
    else:
        victim.write_bytes(damage(victim.read_bytes(), b""))
    ids, scores, table = use_everything(folder)
    assert (ids, table) == (truth[0], truth[2])
    np.testing.assert_allclose(scores[0], truth[1][0], atol=1e-6)
    with vecstore.open(folder) as store:
        docs = store.collection("docs")
        assert docs.explain(space="v1").indexes == {}, "the plan says that the scan is exact"


def test_files_that_nothing_refers_to_disturb_nobody(folder):
    truth = use_everything(folder)
    for kind in ("items", "vectors", "deletes"):
        victim = files(folder, kind)[0]
        victim.with_name("stray" + victim.suffix).write_bytes(b"rubbish")
        victim.with_name(f".{victim.name}.0.tmp").write_bytes(b"half")
    assert use_everything(folder) == truth


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
    connection = sqlite3.connect(folder / "catalog.db")
    by_space = dict(connection.execute("SELECT space_id, id FROM files WHERE kind = 'vectors'"))
    (_, file), (other, _) = by_space.items()
    connection.close()
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


def test_a_damaged_catalog_raises_and_answers_nothing(folder):
    truth = use_everything(folder)
    database = folder / "catalog.db"
    whole = database.read_bytes()
    refused = 0
    for start in range(0, len(whole), 4096):
        damaged = bytearray(whole)
        damaged[start : start + 4096] = b"\xff" * 4096
        database.write_bytes(bytes(damaged))
        try:
            assert use_everything(folder) == truth, "a page that was not needed"
        except VecstoreError:
            refused += 1
    assert refused > 5
    database.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptFileError, match=r"catalog\.db.*restore the file from a backup"):
        use_everything(folder)
    database.write_bytes(whole)
    assert use_everything(folder) == truth
