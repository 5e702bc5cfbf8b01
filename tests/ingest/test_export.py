"""What is exported is what ingest restores."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vecstore
from vecstore.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, StorageError
from vecstore_ingest import ColumnMapping, Source, export, ingest


@pytest.fixture
def filled(store: vecstore.Store) -> vecstore.Collection:
    """Thirty items with every kind of metadata and four spaces, all but one incomplete."""
    docs = store.create_collection("filled")
    docs.create_space("a", dim=3, metric="l2")
    docs.create_space("b", dim=4)
    docs.create_space("c16", dim=4, dtype="float16")
    docs.create_space("l16", dim=2, metric="l2", dtype="float16")
    rng = np.random.default_rng(5)
    ids = [f"é {i}" for i in range(30)]
    table = pa.table(
        {
            "n": pa.array([None, *range(29)], pa.int64()),
            "x": [float("nan"), *rng.standard_normal(29)],
            "ok": [i % 2 == 0 for i in range(30)],
            "tags": [["a", 'b"'][: i % 3] for i in range(30)],
            "day": [dt.date(2020, 1, 1 + i) for i in range(30)],
        }
    )
    texts = [None if i % 4 == 0 else f'line\n"{i}"' for i in range(30)]
    vectors = rng.standard_normal((30, 3)).astype(np.float32)
    docs.upsert(ids=ids, vectors=vectors, space="a", documents=texts, metadata=table)
    docs.add_vectors(ids=ids[5:15], vectors=rng.standard_normal((10, 4)), space="b")
    docs.add_vectors(ids=ids[:25], vectors=rng.standard_normal((25, 4)), space="c16")
    docs.add_vectors(ids=ids[3:], vectors=rng.standard_normal((27, 2)), space="l16")
    docs.delete(ids[20:22])
    return docs


def _content(docs: vecstore.Collection) -> list[dict[str, Any]]:
    rows = [r for batch in docs.scan(spaces=["a", "b", "c16", "l16"]) for r in batch.to_pylist()]
    return sorted(rows, key=lambda row: str(row["id"]))


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
@pytest.mark.parametrize("batch_rows", [7, 1000])
def test_export_and_ingest_restore_every_value(
    name: str, batch_rows: int, filled: vecstore.Collection, store: vecstore.Store, tmp_path: Path
) -> None:
    told: list[int] = []
    report = export(filled, tmp_path / name, batch_rows=batch_rows, progress=told.append)
    assert report.rows == told[-1] == 28
    copy = store.create_collection("copy")
    copy.create_space("a", dim=3, metric="l2")
    copy.create_space("b", dim=4)
    copy.create_space("c16", dim=4, dtype="float16")
    copy.create_space("l16", dim=2, metric="l2", dtype="float16")
    ingest(copy, tmp_path / name)
    np.testing.assert_equal(_content(copy), _content(filled))
    assert copy.latest().schema == filled.latest().schema


def test_jsonl_restores_what_json_can_hold(
    filled: vecstore.Collection, store: vecstore.Store, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    export(filled, path, batch_rows=7)
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    copy = store.create_collection("copy")
    copy.create_space("a", dim=3, metric="l2")
    copy.create_space("b", dim=4)
    copy.create_space("c16", dim=4, dtype="float16")
    copy.create_space("l16", dim=2, metric="l2", dtype="float16")
    ingest(copy, path)
    expected = _content(filled)
    for row in expected:
        row["day"] = row["day"].isoformat()
        row["x"] = None if row["x"] is not None and np.isnan(row["x"]) else row["x"]
    assert _content(copy) == expected


def test_spaces_can_be_chosen(filled: vecstore.Collection, tmp_path: Path) -> None:
    export(filled, tmp_path / "x.parquet", spaces=["b"])
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.column_names == ["id", "document", "n", "x", "ok", "tags", "day", "b"]
    assert table.column("b").null_count == 18
    with pytest.raises(NotFoundError):
        export(filled, tmp_path / "y.parquet", spaces=["c"])
    assert not (tmp_path / "y.parquet").exists()


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.jsonl"])
def test_an_empty_collection_is_an_empty_file(
    name: str, docs: vecstore.Collection, tmp_path: Path
) -> None:
    assert export(docs, tmp_path / name).rows == 0
    assert ingest(docs, tmp_path / name).rows_read == 0


def test_standard_output_gets_jsonl(
    filled: vecstore.Collection, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    export(filled, "-", spaces=[])
    lines = capfdbinary.readouterr().out.splitlines()
    assert len(lines) == 28
    assert json.loads(lines[1])["id"] == "é 1"


def test_a_file_is_replaced_only_on_request_and_only_when_complete(
    filled: vecstore.Collection, tmp_path: Path
) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"precious")
    with pytest.raises(AlreadyExistsError, match="overwrite"):
        export(filled, path)

    def fail(rows: int) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        export(filled, path, overwrite=True, progress=fail)
    assert path.read_bytes() == b"precious"
    export(filled, path, overwrite=True)
    assert pq.read_metadata(path).num_rows == 28
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_other_formats_and_places_are_refused(filled: vecstore.Collection, tmp_path: Path) -> None:
    for name in ("x.csv", "x"):
        with pytest.raises(InvalidArgumentError, match="format"):
            export(filled, tmp_path / name)
    with pytest.raises(StorageError):
        export(filled, tmp_path / "missing" / "x.parquet")


def test_items_as_parquet_and_vectors_as_matrices_restore_every_value(
    filled: vecstore.Collection, store: vecstore.Store, tmp_path: Path
) -> None:
    export(filled, tmp_path / "items.parquet", spaces=["a"])
    copy = store.create_collection("copy")
    for name, status in filled.spaces.items():
        copy.create_space(
            name, dim=status.dim, metric=status.space.metric, dtype=status.space.dtype
        )
    ingest(copy, tmp_path / "items.parquet")
    for name in ("b", "c16", "l16"):
        told: list[int] = []
        path = tmp_path / f"{name}.npy"
        report = export(filled, path, spaces=[name], batch_rows=7, progress=told.append)
        matrix = np.load(path, allow_pickle=False)
        native = filled.spaces[name].native
        assert report.rows == told[-1] == len(matrix) == native < 28
        assert len(np.load(tmp_path / f"{name}.ids.npy", allow_pickle=False)) == native
        source = Source(path=str(path), ids=str(tmp_path / f"{name}.ids.npy"))
        ingest(copy, source, space=name, mode="add_vectors")
    np.testing.assert_equal(_content(copy), _content(filled))


def test_a_matrix_is_of_one_space_and_replaced_only_on_request(
    filled: vecstore.Collection, store: vecstore.Store, tmp_path: Path
) -> None:
    for spaces in (None, [], ["a", "b"]):
        with pytest.raises(InvalidArgumentError, match="one space"):
            export(filled, tmp_path / "x.npy", spaces=spaces)
    export(filled, tmp_path / "x.npy", spaces=["b"])
    before = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").rename(tmp_path / "kept.npy")
    with pytest.raises(AlreadyExistsError, match=r"x\.ids\.npy"):
        export(filled, tmp_path / "x.npy", spaces=["b"])
    assert not (tmp_path / "x.npy").exists(), "a matrix without its ids is no export"
    export(filled, tmp_path / "x.npy", spaces=["b"], overwrite=True)
    assert (tmp_path / "x.npy").read_bytes() == before
    empty = store.create_collection("empty")
    empty.create_space("a", dim=3)
    assert export(empty, tmp_path / "empty.npy").rows == 0
    assert np.load(tmp_path / "empty.npy").shape == (0, 3)


def test_a_space_named_like_a_column_is_refused(store: vecstore.Store, tmp_path: Path) -> None:
    docs = store.create_collection("clash")
    docs.create_space("n", dim=1)
    docs.upsert(ids=["a"], vectors=[[1.0]], metadata=[{"n": 1}])
    with pytest.raises(InvalidArgumentError, match="n is both"):
        export(docs, tmp_path / "x.parquet")


def test_metadata_named_like_a_vector_survives_with_a_mapping(
    store: vecstore.Store, tmp_path: Path
) -> None:
    docs = store.create_collection("names")
    docs.create_space("v", dim=1, metric="l2")
    docs.upsert(ids=["a"], vectors=[[2.0]], metadata=[{"text": "t", "embedding": "e"}])
    export(docs, tmp_path / "x.parquet")
    copy = store.create_collection("copy")
    copy.create_space("v", dim=1, metric="l2")
    ingest(copy, tmp_path / "x.parquet", mapping=ColumnMapping(document="document"))
    item = copy.get("a", spaces=["v"])
    assert dict(item.metadata) == {"text": "t", "embedding": "e"}
    assert item.vectors["v"].tolist() == [2.0]
