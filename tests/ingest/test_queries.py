"""Files of queries and judgements: every form means the same, and what is wrong is named."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecstore import Space
from vecstore.errors import IngestError
from vecstore_ingest import read_qrels, read_queries

SPACES = [Space(name="v1", dim=2), Space(name="v2", dim=3)]
QRELS = {"q1": {"a": 2.0, "b b": 1.0}, "q2": {"a": 0.5}}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_texts_and_vectors_are_found_by_the_names_of_their_columns(tmp_path):
    rows = [
        {"id": f"q{n}", "query": f"text {n}", "v1": [n + 1.0, 0.5], "v2": [0.0, 1.0, n]}
        for n in range(3)
    ]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "q.parquet")
    for path in (write(tmp_path / "q.jsonl", rows), str(tmp_path / "q.parquet")):
        found = read_queries(path, spaces=SPACES)
        assert found.ids == ("q0", "q1", "q2")
        assert found.texts == ("text 0", "text 1", "text 2")
        np.testing.assert_array_equal(found.vectors["v1"], [[1, 0.5], [2, 0.5], [3, 0.5]])
        np.testing.assert_array_equal(found.vectors["v2"], [[0, 1, 0], [0, 1, 1], [0, 1, 2]])
        assert set(found.asked()) == {"text", "v1", "v2"}


def test_one_vector_without_a_name_is_of_the_newest_space(tmp_path):
    matrix = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "q.npy", matrix)
    lines = write(tmp_path / "q.jsonl", [{"vector": row.tolist()} for row in matrix])
    for path in (str(tmp_path / "q.npy"), lines):
        found = read_queries(path, spaces=SPACES)
        assert (found.ids, found.texts) == (("0", "1"), None)
        assert list(found.vectors) == ["v2"]
        np.testing.assert_array_equal(found.vectors["v2"], matrix)


def test_texts_of_csv_are_enough(tmp_path):
    (tmp_path / "q.csv").write_text('id,text\n7,"red, green"\n8,blue\n')
    found = read_queries(str(tmp_path / "q.csv"), spaces=SPACES)
    assert (found.ids, found.texts, found.vectors) == (("7", "8"), ("red, green", "blue"), {})


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "empty file"),
        ([{"id": "q"}], r"columns 'id'"),
        ([{"query": None, "v2": [1, 0, 0]}, {"query": "x", "v2": [1, 0, 0]}], "a null"),
        ([{"v2": [1, 0, 0]}, {"v2": [1, 0]}], "query 1, column 'v2': expected 3 dimensions, got 2"),
        ([{"v2": [1, 0, 0]}, {"v2": [0, 0, 0]}], "zero vector"),
        ([{"v2": [1, 0, 0], "v1": [1, 0]}, {"v2": [1, 0, 0]}], "query 1, column 'v1': no vector"),
        ([{"id": None, "query": "x"}, {"id": "q", "query": "x"}], "null id"),
    ],
)
def test_queries_that_are_none_are_named(tmp_path, rows, said):
    with pytest.raises(IngestError, match=said):
        read_queries(write(tmp_path / "q.jsonl", rows), spaces=SPACES)


def test_judgements_mean_the_same_in_every_form(tmp_path):
    triples = [(q, item, gain) for q, items in QRELS.items() for item, gain in items.items()]
    beir = "".join(f"{q}\t{item}\t{gain}\n" for q, item, gain in triples)
    (tmp_path / "plain.tsv").write_text(beir)
    (tmp_path / "beir.tsv").write_text(f"query-id\tcorpus-id\tscore\r\n{beir}\n")
    (tmp_path / "trec.txt").write_text(
        "".join(f"{q}\t0\t{item}\t{gain}\n" for q, item, gain in triples)
    )
    write(
        tmp_path / "q.jsonl",
        [{"query": q, "item": item, "gain": gain} for q, item, gain in triples],
    )
    for name in ("plain.tsv", "beir.tsv", "trec.txt", "q.jsonl"):
        assert read_qrels(str(tmp_path / name)) == QRELS, name
    write(tmp_path / "one.jsonl", [{"query": 3, "item": 4}])
    assert read_qrels(str(tmp_path / "one.jsonl")) == {"3": {"4": 1.0}}
    (tmp_path / "spaces.txt").write_text("q1 0 a 2\n  q2   Q0 c   1\n")
    assert read_qrels(str(tmp_path / "spaces.txt")) == {"q1": {"a": 2.0}, "q2": {"c": 1.0}}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "", "at least one judgement"),
        ("a.txt", "q1 a\n", "line 1: expected `query 0 item gain`"),
        ("a.txt", "q1 a 1\nq1 b much\n", "line 2: expected a number as the gain, got 'much'"),
        ("a.txt", "q1 0 a nan\n", "line 1: expected a number"),
        ("a.jsonl", '{"query": "q1"}\n', 'line 1: expected an object such as {"query"'),
        ("a.jsonl", '{"query": "q1", "item": "a", "gain": "x"}\n', "line 1"),
        ("a.jsonl", "[1]\n", "line 1"),
        ("a.jsonl", "not json\n", "line 1"),
    ],
)
def test_lines_that_are_no_judgement_are_named(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(IngestError, match=said):
        read_qrels(str(tmp_path / name))


def test_files_that_cannot_be_read_are_an_ingest_error(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"q1 0 \xff 1\n")
    for read in (read_qrels, lambda path: read_queries(path, spaces=SPACES)):
        for path in (tmp_path / "absent.jsonl", tmp_path, tmp_path / "latin.txt"):
            with pytest.raises(IngestError):
                read(str(path))


def test_judgements_are_held_against_the_ids_of_the_queries(tmp_path):
    found = read_queries(
        write(tmp_path / "q.jsonl", [{"id": "q1", "query": "x"}, {"id": "q9", "query": "y"}]),
        spaces=SPACES,
    )
    assert found.judged(QRELS) == [QRELS["q1"], {}]
    with pytest.raises(IngestError, match="numbers from 0"):
        found.judged({"other": {"a": 1.0}})
