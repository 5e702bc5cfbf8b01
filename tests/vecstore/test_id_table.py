"""IdTable: any ids side by side are the ids that went in, or there is no table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecstore import id_table as module
from vecstore.id_table import IdTable
from vecstore.item_files import FEW_ROWS

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)


@given(
    st.lists(st.lists(texts, max_size=6), min_size=1, max_size=4),
    st.integers(0, 50),
    st.randoms(use_true_random=False),
)
def test_a_table_gives_the_ids_that_went_in(files, first, random):
    count = sum(map(len, files))
    rows = list(range(first, first + 3 * count, 3))  # with gaps, and files between files
    random.shuffle(rows)
    parts, expected = [], {}
    for ids in files:
        own = np.array(sorted(rows[: len(ids)]), np.int64)
        del rows[: len(ids)]
        expected |= dict(zip(own.tolist(), ids, strict=True))
        parts.append((own, pa.array(["before", *ids], pa.string())[1:]))
    table = IdTable.of(parts, range(first, first + 3 * count))
    if any(text.endswith("\0") for text in expected.values()):
        assert table is None
    else:
        assert table is not None
        asked = np.array([*expected, *expected], np.int64)
        assert table.strings(asked) == [expected[row] for row in asked.tolist()]


def test_a_table_that_would_be_too_large_is_not_made_and_its_ids_are_not_read(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    read = []

    def files(*texts):
        for text in texts:
            read.append(text)
            yield np.array([0]), pa.array([text])

    assert IdTable.of(files("x" * 10), range(10)) is not None
    assert IdTable.of(files("x" * 11, "y"), range(10)) is None
    assert read == ["x" * 10, "x" * 11]
    assert IdTable.of(files("x"), range(13)) is None
    assert read == ["x" * 10, "x" * 11]


@pytest.mark.parametrize("fits", [True, False])
def test_ids_are_the_same_before_and_after_a_table_was_made(store, monkeypatch, fits):
    if not fits:
        monkeypatch.setattr(module, "MAX_BYTES", 1000)
    docs = store.create_collection("docs")
    names = [f"{'é' * (n % 7)}{n}" for n in range(400)]
    for start in range(0, 400, 100):
        docs.upsert(ids=names[start : start + 100])
    docs.delete(where="id LIKE '%3'")
    docs.compact()
    snapshot = docs.latest().snapshot
    rows = snapshot.live.to_array()
    expected = snapshot.ids(rows).to_pylist()
    assert set(expected) == {name for name in names if not name.endswith("3")}
    for start in range(0, len(rows) - 10, 10):  # few at a time, as queries ask
        part = slice(start, start + 10)
        assert snapshot.id_strings(rows[part]) == expected[part]
    assert (snapshot._item_files._id_table is not None) is fits
    assert snapshot.id_strings(rows) == expected
    assert len(rows) > FEW_ROWS
