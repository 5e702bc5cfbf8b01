"""The laws of `Reader`, over every format, against numpy."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vecstore.errors import IngestError
from vecstore_ingest import FORMATS, ROW_NUMBERS, Source
from vecstore_ingest.formats import EXTENSIONS, open_reader
from vecstore_ingest.formats.reader import Chunk


def _chunks(source: Source, batch_rows: int, **options: Any) -> list[Chunk]:
    return list(open_reader(source).chunks(batch_rows=batch_rows, **options))


def _same(left: Chunk, right: Chunk) -> bool:
    return (
        left.batch.equals(right.batch)
        and np.array_equal(left.rows, right.rows)
        and (left.bad, left.start, left.end) == (right.bad, right.start, right.end)
    )


def test_every_registered_format_is_tested(written_names: list[str]) -> None:
    plain = [name.removesuffix(".gz").removesuffix(".zst") for name in written_names]
    assert {EXTENSIONS[Path(name).suffix] for name in plain} == set(FORMATS)


@pytest.mark.parametrize("batch_rows", [1, 10, 57, 1000])
def test_chunks_hold_every_row_once_and_in_order(
    source: Source, rows: Any, batch_rows: int
) -> None:
    chunks = _chunks(source, batch_rows)
    assert all(0 < c.batch.num_rows <= batch_rows or "jsonl" in source.path for c in chunks)
    assert all(c.bad == () for c in chunks)
    assert all(a.end == b.start for a, b in itertools.pairwise(chunks))
    table = pa.Table.from_batches([c.batch for c in chunks if c.batch.num_rows])
    name = "ids" if "ids" in table.column_names else "id"
    assert table.column(name).to_pylist() == rows.ids
    if "document" in table.column_names:
        assert table.column("document").to_pylist() == rows.texts
    numbers = np.concatenate([c.rows for c in chunks])
    step = 2 if source.path.endswith(".jsonl") else 1
    np.testing.assert_array_equal(numbers, np.arange(57) * step)


@pytest.mark.parametrize("batch_rows", [1, 13])
def test_a_chunk_depends_on_its_start_alone(source: Source, batch_rows: int) -> None:
    reader = open_reader(source)
    chunks = list(reader.chunks(batch_rows=batch_rows))
    for i in (0, 1, len(chunks) // 2, len(chunks) - 1):
        again = list(open_reader(source).chunks(chunks[i].start, batch_rows=batch_rows))
        assert len(again) == len(chunks) - i
        assert all(_same(a, b) for a, b in zip(again, chunks[i:], strict=True))
    assert list(reader.chunks(chunks[-1].end, batch_rows=batch_rows)) == []


def test_columns_can_be_left_out_without_moving_chunks(source: Source) -> None:
    full = _chunks(source, 10)
    name = "ids" if "ids" in full[0].batch.schema.names else "id"
    only = _chunks(source, 10, columns=[name])
    assert [c.start for c in only] == [c.start for c in full]
    for a, b in zip(only, full, strict=True):
        if b.batch.num_rows:
            assert a.batch.column(name).equals(b.batch.column(name))


def test_row_numbers_serve_as_ids(write: Callable[[str], Source]) -> None:
    for name in ("rows.npy", "rows.fvecs", "rows.fbin"):
        reader = open_reader(Source(path=write(name).path, ids=ROW_NUMBERS))
        assert reader.unique_ids
        ids = [i for c in reader.chunks(batch_rows=20) for i in c.batch.column("id").to_pylist()]
        assert ids == [str(i) for i in range(57)]


def test_a_matrix_without_ids_is_refused(write: Callable[[str], Source]) -> None:
    for name in ("rows.npy", "rows.fvecs", "rows.fbin"):
        with pytest.raises(IngestError, match="expected ids"):
            open_reader(Source(path=write(name).path))


def test_ids_must_be_as_many_as_vectors(tmp_path: Path, write: Callable[[str], Source]) -> None:
    short = tmp_path / "short.txt"
    short.write_text("a\nb\n")
    with pytest.raises(IngestError, match=r"expected 57 ids.*got 2"):
        open_reader(Source(path=write("rows.npy").path, ids=str(short)))


def test_ids_from_ivecs_and_integers(tmp_path: Path, write: Callable[[str], Source]) -> None:
    numbers = np.arange(57) * 10
    pairs = np.stack([np.ones(57), numbers], axis=1).astype("<i4")
    (tmp_path / "ids.ivecs").write_bytes(pairs.tobytes())
    np.save(tmp_path / "numbers.npy", numbers.astype(">i8"))
    for ids in ("ids.ivecs", "numbers.npy"):
        source = Source(path=write("rows.fbin").path, ids=str(tmp_path / ids))
        (chunk,) = _chunks(source, 100)
        assert chunk.batch.column("id").to_pylist() == [str(n) for n in numbers]


def test_the_explicit_format_wins_over_the_extension(tmp_path: Path) -> None:
    path = tmp_path / "rows.dat"
    path.write_bytes(b'{"id": "a"}\n')
    with pytest.raises(IngestError, match="expected a format of parquet"):
        open_reader(Source(path=str(path)))
    (chunk,) = _chunks(Source(path=str(path), format="jsonl"), 10)
    assert chunk.batch.to_pylist() == [{"id": "a"}]


def test_compressed_binary_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet.gz"
    path.write_bytes(gzip.compress(b"PAR1"))
    with pytest.raises(IngestError, match="uncompressed"):
        open_reader(Source(path=str(path)))


def test_json_strings_that_look_like_dates_stay_strings(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"id": "2020-01-01", "tags": ["2020-01-01"], "n": {"at": "2020-01-01"}}\n')
    (chunk,) = _chunks(Source(path=str(path)), 10)
    expected = [{"id": "2020-01-01", "tags": ["2020-01-01"], "n": {"at": "2020-01-01"}}]
    assert chunk.batch.to_pylist() == expected


def test_csv_values_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'id,zip,"a ""b"""\n007,01234,\n8,1e5,""\n')
    (chunk,) = _chunks(Source(path=str(path)), 10)
    assert chunk.batch.to_pylist() == [
        {"id": "007", "zip": "01234", 'a "b"': None},
        {"id": "8", "zip": "1e5", 'a "b"': ""},
    ]


def test_bad_json_lines_are_named_and_the_others_kept(tmp_path: Path) -> None:
    lines = [
        b'{"id": "a", "year": 1}',
        b'{"id": "b", "year"',
        b"",
        b"[1, 2]",
        b'{"id": "c", "year": "x"}',
        b'{"id": "\xff"}',
        b'{"id": "d", "year": 2.5} {"id": "e"}',
        b'{"id": "f", "year": 2.5}',
        b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"id": "\\ud800"}',
        b'{"id": "g", "year": 123456789012345678901234567890}',
    ]
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join(lines))
    (chunk,) = _chunks(Source(path=str(path)), 100)
    assert [r["id"] for r in chunk.batch.to_pylist()] == ["a", "f"]
    assert chunk.rows.tolist() == [0, 7]
    assert {b.row: b.column for b in chunk.bad} == {
        1: None, 3: None, 4: "year", 5: None, 6: None, 8: None, 9: "id", 10: "year",
    }  # fmt: skip
    assert chunk.bad[0].raw == '{"id": "b", "year"'


def test_bad_csv_records_are_named_and_the_others_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'id,t\na,"two\nlines"\nb\n\nc,1,2\n\xff,x\nd,ok\r\ne,"open\nf,never closed\n')
    (chunk,) = _chunks(Source(path=str(path)), 100)
    assert chunk.batch.column("id").to_pylist() == ["a", "d"]
    assert chunk.rows.tolist() == [0, 5]
    assert [b.row for b in chunk.bad] == [1, 3, 4, 6]
    assert chunk.bad[0].reason == "expected 2 columns, got 1"
    assert chunk.bad[-1].reason == "a quote that never closes"


def test_rows_before_damage_come_first(tmp_path: Path, write: Callable[[str], Source]) -> None:
    source = write("rows.arrows")
    data = Path(source.path).read_bytes()
    cut = tmp_path / "cut.arrows"
    cut.write_bytes(data[: len(data) * 2 // 3])
    got: list[str] = []
    chunks = open_reader(Source(path=str(cut))).chunks(batch_rows=4)
    with pytest.raises(IngestError, match=r"cut\.arrows.*at or after row \d+"):
        got.extend(i for chunk in chunks for i in chunk.batch.column("id").to_pylist())
    assert 0 < len(got) < 57
    assert got == [f"{i:03d}" for i in range(len(got))]


def test_where_types_disagree_those_of_the_first_chunk_decide(tmp_path: Path) -> None:
    values = ["1", "2", '"x"', "3", "4.5", '"y"', '"z"', "6"]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(f'{{"id": "{i}", "n": {v}}}\n' for i, v in enumerate(values)))
    chunks = _chunks(Source(path=str(path)), 2)
    assert [[b.row for b in c.bad] for c in chunks] == [[], [2], [5], [6]]
    for i, chunk in enumerate(chunks):
        again = list(open_reader(Source(path=str(path))).chunks(chunk.start, batch_rows=2))
        assert all(_same(a, b) for a, b in zip(again, chunks[i:], strict=True))
