"""Jobs against a real store: what is written, what is refused, what is reported."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vecstore
from vecstore.errors import IngestError, InvalidArgumentError, NotFoundError
from vecstore_ingest import ColumnMapping, IngestProgress, Source, ingest


def _vectors(docs: vecstore.Collection, ids: Sequence[str], space: str = "v1") -> Any:
    return np.stack([item.vectors[space] for item in docs.get(list(ids), spaces=[space])])


def _ids(docs: vecstore.Collection) -> list[str]:
    return [i for batch in docs.scan() for i in batch.column("id").to_pylist()]


def _jsonl(path: Path, records: Sequence[dict[str, Any] | str]) -> str:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return str(path)


def _record(i: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"i{i}", "vector": [i, 1, 2, 3, 4], "n": i} | fields


def test_every_format_lands_in_the_store(
    source: Source, rows: Any, docs: vecstore.Collection
) -> None:
    report = ingest(docs, source, batch_rows=20)
    assert (report.rows_read, report.rows_written, report.rows_rejected) == (57, 57, 0)
    assert report.resumed_from == 0
    assert _ids(docs) == rows.ids
    np.testing.assert_array_equal(_vectors(docs, rows.ids), rows.vectors)
    if not source.path.endswith((".npy", ".fvecs", ".fbin", ".hdf5", ".h5")):
        assert [item.document for item in docs.get(rows.ids)] == rows.texts
    assert docs.latest().schema.names == ["id", "document"]


def test_several_files_are_one_job(
    write: Callable[[str], Source], docs: vecstore.Collection, tmp_path: Path
) -> None:
    more = _jsonl(tmp_path / "more.jsonl", [_record(i) for i in range(3)])
    report = ingest(docs, [write("rows.parquet"), Path(more)])
    assert report.rows_written == 60
    assert len(docs) == 60


def test_a_second_run_replaces_with_the_same(
    write: Callable[[str], Source], docs: vecstore.Collection, rows: Any
) -> None:
    for _ in range(2):
        report = ingest(docs, write("rows.parquet"))
        assert (report.rows_written, report.resumed_from) == (57, 0)
    assert sorted(_ids(docs)) == rows.ids


BAD: dict[str, tuple[dict[str, Any] | str, str | None, str]] = {
    "unparsable": ('{"id": "bad"', None, "invalid JSON"),
    "null id": (_record(5, id=None), "id", "null id"),
    "empty id": (_record(5, id=""), "id", "empty id"),
    "duplicate id": (_record(2), "id", "duplicate id"),
    "dimension": (_record(5, vector=[1, 2]), "vector", "expected 5 dimensions, got 2"),
    "NaN": ('{"id": "x", "vector": [NaN, 1, 2, 3, 4]}', "vector", "NaN"),
    "type": (_record(5, n="five"), "n", "expected int64 as in the rows before, got str"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_by_default_a_job_stops_with_every_row_before_committed(
    case: str, batch_rows: int, docs: vecstore.Collection, tmp_path: Path
) -> None:
    bad, column, reason = BAD[case]
    if case == "type" and batch_rows == 1:
        # Alone in its batch the row is well-formed: it is the store that refuses it.
        column, reason = None, "metadata column 'n' holds int64, got string"
    path = _jsonl(tmp_path / "x.jsonl", [*map(_record, range(4)), bad, _record(9)])
    with pytest.raises(IngestError) as caught:
        ingest(docs, path, batch_rows=batch_rows)
    message = str(caught.value)
    assert f"{path}: row 4 (line 5)" in message
    assert reason in message
    assert column is None or f"column {column!r}" in message
    assert "4 rows of this job are committed" in message
    assert _ids(docs) == ["i0", "i1", "i2", "i3"]


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_skip_goes_on_and_writes_the_bad_rows_down(
    batch_rows: int, docs: vecstore.Collection, tmp_path: Path
) -> None:
    bad = [BAD[case][0] for case in BAD]
    good = [_record(i) for i in range(4)]
    path = _jsonl(tmp_path / "x.jsonl", [*good, *bad, _record(9), "[]"])
    rejects = tmp_path / "rejects.jsonl"
    report = ingest(docs, path, batch_rows=batch_rows, on_error="skip", rejects=rejects)
    assert (report.rows_read, report.rows_written, report.rows_rejected) == (13, 5, 8)
    assert _ids(docs) == ["i0", "i1", "i2", "i3", "i9"]
    lines = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [line["row"] for line in lines] == [4, 5, 6, 7, 8, 9, 10, 12]
    assert {line["file"] for line in lines} == {path}
    assert lines[4]["raw"] == _record(5, vector=[1, 2]) | {"n": 5}
    assert lines[5]["raw"]["vector"][0] == "nan"
    assert lines[0]["raw"] == '{"id": "bad"'


def test_without_a_rejects_file_bad_rows_are_counted(
    docs: vecstore.Collection, tmp_path: Path
) -> None:
    path = _jsonl(tmp_path / "x.jsonl", [_record(1), "x", _record(2)])
    assert ingest(docs, path, on_error="skip").rows_rejected == 1


def test_the_first_row_with_an_id_has_it_across_batches_and_files(
    docs: vecstore.Collection, tmp_path: Path
) -> None:
    first = _jsonl(tmp_path / "a.jsonl", [_record(1), _record(2), _record(1, n=7)])
    second = _jsonl(tmp_path / "b.jsonl", [_record(2, n=8), _record(3)])
    report = ingest(docs, [first, second], batch_rows=1, on_error="skip")
    assert (report.rows_written, report.rows_rejected) == (3, 2)
    assert [item.metadata["n"] for item in docs.get(["i1", "i2", "i3"])] == [1, 2, 3]


def test_zero_vectors_are_bad_under_cosine(store: vecstore.Store, tmp_path: Path) -> None:
    docs = store.create_collection("angles")
    docs.create_space("v1", dim=5, metric="cosine")
    path = _jsonl(tmp_path / "x.jsonl", [_record(1), _record(2, vector=[0] * 5)])
    with pytest.raises(IngestError, match=r"row 1 .*zero vector"):
        ingest(docs, path)
    assert _ids(docs) == ["i1"]


def test_messages_show_no_vector_values(docs: vecstore.Collection, tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "x.jsonl", [_record(1, vector=[0.123456, 1, 2, 3])])
    with pytest.raises(IngestError) as caught:
        ingest(docs, path)
    assert "0.123456" not in str(caught.value)


def test_rows_that_only_the_store_refuses_are_found_one_by_one(
    docs: vecstore.Collection, tmp_path: Path
) -> None:
    docs.upsert(ids=["before"], metadata=[{"n": 1}])
    table = pa.table({"id": [f"i{i}" for i in range(20)], "n": ["x"] * 20})
    pq.write_table(table, tmp_path / "x.parquet")
    rejects = tmp_path / "r.jsonl"
    report = ingest(docs, tmp_path / "x.parquet", on_error="skip", rejects=rejects)
    assert (report.rows_written, report.rows_rejected) == (0, 20)
    assert [json.loads(x)["row"] for x in rejects.read_text().splitlines()] == list(range(20))
    with pytest.raises(IngestError, match="row 0: metadata column 'n' holds int64, got string"):
        ingest(docs, tmp_path / "x.parquet")


def test_items_may_lack_vectors_in_some_spaces(store: vecstore.Store, tmp_path: Path) -> None:
    docs = store.create_collection("two")
    docs.create_space("a", dim=2, metric="l2")
    docs.create_space("b", dim=2, metric="l2")
    records: list[dict[str, Any]] = [
        {"id": "both", "a": [1, 2], "b": [3, 4], "document": "x"},
        {"id": "a only", "a": [5, 6], "b": None},
        {"id": "none", "document": "y"},
        {"id": "b only", "b": [7, 8]},
    ]
    report = ingest(docs, _jsonl(tmp_path / "x.jsonl", records))
    assert report.rows_written == 4
    for record in records:
        item = docs.get(record["id"], spaces=["a", "b"])
        assert item.document == record.get("document")
        assert {s: v.tolist() for s, v in item.vectors.items()} == {
            s: record[s] for s in ("a", "b") if record.get(s)
        }


def test_items_come_without_vectors_at_all(docs: vecstore.Collection, tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "x.jsonl", [{"id": "a", "text": "t"}])
    ingest(docs, path)
    assert docs.get("a", spaces=["v1"]).vectors == {}


def test_csv_types_hold_for_the_whole_file(docs: vecstore.Collection, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("id,zip,n,m\n001,01234,1,\n002,12345,2,\n003,99999,2.5,x\n004,1,n/a,y\n")
    rejects = tmp_path / "r.jsonl"
    report = ingest(docs, path, batch_rows=1, on_error="skip", rejects=rejects)
    assert report.rows_rejected == 1
    assert json.loads(rejects.read_text())["column"] == "n"
    items = docs.get(["001", "002", "003"])
    assert [i.metadata for i in items] == [
        {"zip": "01234", "n": 1.0, "m": None},
        {"zip": "12345", "n": 2.0, "m": None},
        {"zip": "99999", "n": 2.5, "m": "x"},
    ]


def test_declared_types_are_used(docs: vecstore.Collection, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("id,zip,day\n1,1234,2020-01-02\n")
    ingest(docs, path, mapping=ColumnMapping(types={"zip": "string", "day": "date32"}))
    assert str(docs.get("1").metadata) == "{'zip': '1234', 'day': datetime.date(2020, 1, 2)}"


def test_vectors_are_added_to_items_that_exist(
    store: vecstore.Store, write: Callable[[str], Source], rows: Any
) -> None:
    docs = store.create_collection("pairs")
    docs.create_space("old", dim=5, metric="l2")
    docs.create_space("new", dim=5, metric="l2")
    docs.upsert(
        ids=rows.ids[:50], vectors=rows.vectors[:50] * 2, space="old", documents=rows.texts[:50]
    )
    source = write("rows.npy")
    report = ingest(docs, source, space="new", mode="add_vectors", on_error="skip", batch_rows=7)
    assert (report.rows_written, report.rows_rejected) == (50, 7)
    np.testing.assert_array_equal(_vectors(docs, rows.ids[:50], "new"), rows.vectors[:50])
    np.testing.assert_array_equal(_vectors(docs, rows.ids[:50], "old"), rows.vectors[:50] * 2)
    assert docs.get("003").document == rows.texts[3]

    with pytest.raises(IngestError, match="row 0, column 'vector': the item has a vector in space"):
        ingest(docs, source, space="new", mode="add_vectors")
    again = ingest(
        docs, source, space="new", mode="add_vectors", on_existing="replace", on_error="skip"
    )
    assert again.rows_written == 50


def test_an_unknown_item_stops_add_vectors(
    docs: vecstore.Collection, write: Callable[[str], Source], rows: Any
) -> None:
    docs.upsert(ids=rows.ids[:10])
    with pytest.raises(IngestError, match=r"row 10, column 'id': no item with this id.*10 rows"):
        ingest(docs, write("rows.npy"), mode="add_vectors")
    assert docs.spaces["v1"].native == 10


def test_add_vectors_takes_one_space(store: vecstore.Store, tmp_path: Path) -> None:
    docs = store.create_collection("two")
    docs.create_space("a", dim=1)
    docs.create_space("b", dim=1)
    path = _jsonl(tmp_path / "x.jsonl", [{"id": "x", "a": [1], "b": [1]}])
    with pytest.raises(IngestError, match="one column of vectors to add"):
        ingest(docs, path, mode="add_vectors")


def test_progress_is_told_after_each_batch(
    docs: vecstore.Collection, write: Callable[[str], Source]
) -> None:
    told: list[IngestProgress] = []
    ingest(docs, write("rows.parquet"), batch_rows=20, progress=told.append)
    assert [p.rows_written for p in told] == [20, 40, 57]
    assert [p.fraction for p in told] == pytest.approx([20 / 57, 40 / 57, 1.0])
    assert all(p.seconds >= 0 for p in told)


def test_standard_input(docs: vecstore.Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(json.dumps(_record(i)) + "\n" for i in range(5))
    for kind in ("jsonl", "csv"):
        if kind == "csv":
            text = "id,vector\n" + "".join(f'c{i},"[{i},1,2,3,4]"\n' for i in range(5))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert ingest(docs, "-", format=kind, batch_rows=2).rows_written == 5
    assert len(docs) == 10


def test_damage_after_good_rows_says_what_is_committed(
    docs: vecstore.Collection, write: Callable[[str], Source]
) -> None:
    source = write("rows.arrows")
    data = Path(source.path).read_bytes()
    Path(source.path).write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(IngestError, match=r"damaged.* (\d+) rows of this job are committed") as e:
        ingest(docs, source, batch_rows=4)
    assert f"{len(docs)} rows" in str(e.value)
    assert len(docs) > 0


def test_options_outside_their_domain_are_refused(docs: vecstore.Collection) -> None:
    options: list[dict[str, Any]] = [
        {"mode": "append"}, {"on_error": "ignore"}, {"batch_rows": 0}, {"rejects": "r.jsonl"},
    ]  # fmt: skip
    for option in options:
        with pytest.raises(InvalidArgumentError):
            ingest(docs, "x.jsonl", **option)
    with pytest.raises(InvalidArgumentError, match="at least one file"):
        ingest(docs, [])


def test_an_unknown_space_is_refused(
    docs: vecstore.Collection, write: Callable[[str], Source]
) -> None:
    with pytest.raises(NotFoundError, match="'v7'"):
        ingest(docs, write("rows.npy"), space="v7")
