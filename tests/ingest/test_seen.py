"""The set of ids a job met, against a Python set."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from vecstore_ingest.seen import SeenIds


@given(
    st.lists(st.lists(st.one_of(st.none(), st.text("ab", max_size=4)), max_size=30), max_size=12)
)
def test_repeats_are_found_within_and_across_batches(batches: list[list[str | None]]) -> None:
    seen, model = SeenIds(), set[str]()
    for batch in batches:
        found = seen.add(pa.array(batch, pa.string()))
        for id_, repeated in zip(batch, found, strict=True):
            assert repeated == (id_ in model)
            if id_ is not None:
                model.add(id_)


def test_many_ids_without_a_false_repeat() -> None:
    seen = SeenIds()
    for start in range(0, 200_000, 1_000):
        ids = pa.array([str(i) for i in range(start, start + 1_000)])
        assert not seen.add(ids).any()
    assert seen.add(pa.array(["0", "199999", "200000"])).tolist() == [True, True, False]
