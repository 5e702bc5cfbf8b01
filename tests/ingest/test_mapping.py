"""Which column is what: what is found by name, what is said, what is refused."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from vecstore import Space
from vecstore.errors import IngestError, InvalidArgumentError, NotFoundError
from vecstore_ingest import ColumnMapping
from vecstore_ingest.mapping import Resolved

VECTORS = pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))
V1 = {"v1": Space(name="v1", dim=2)}
BOTH = V1 | {"v2": Space(name="v2", dim=2)}


def _batch(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def _resolve(batch: pa.RecordBatch, **options: Any) -> Resolved:
    settings: dict[str, Any] = {"file": "f", "spaces": V1} | options
    mapping = settings.pop("mapping", ColumnMapping())
    resolved: Resolved = mapping.resolve(batch, **settings)
    return resolved


def _vectors(resolved: Resolved) -> dict[str, str]:
    return {vector.column: vector.space for vector in resolved.vectors}


@pytest.mark.parametrize("id_name", ["id", "_id", "ids", "uuid"])
@pytest.mark.parametrize("vector_name", ["vector", "embedding", "emb", "vectors", "v1"])
@pytest.mark.parametrize("text_name", ["document", "text", "content"])
def test_usual_names_are_found(id_name: str, vector_name: str, text_name: str) -> None:
    batch = _batch(**{text_name: ["t"], "year": [1], vector_name: VECTORS, id_name: ["a"]})
    resolved = _resolve(batch)
    assert (resolved.id, resolved.document) == (id_name, text_name)
    assert _vectors(resolved) == {vector_name: "v1"}
    assert resolved.metadata(batch.schema.names) == {"year": "year"}


def test_columns_named_like_spaces_go_there() -> None:
    batch = _batch(id=["a"], v1=VECTORS, v2=VECTORS)
    assert _vectors(_resolve(batch, spaces=BOTH)) == {"v1": "v1", "v2": "v2"}


def test_the_jobs_space_takes_the_vector_column() -> None:
    batch = _batch(id=["a"], vector=VECTORS)
    assert _vectors(_resolve(batch, spaces=BOTH, space="v2")) == {"vector": "v2"}
    with pytest.raises(IngestError, match=r"cannot tell which of 'vector' goes to .*v1, v2"):
        _resolve(batch, spaces=BOTH)


def test_two_likely_columns_are_not_guessed_between() -> None:
    with pytest.raises(IngestError, match="'vector', 'embedding'"):
        _resolve(_batch(id=["a"], vector=VECTORS, embedding=VECTORS))


@pytest.mark.parametrize(
    "names", [("v0", "v1_"), ("v_0", "v_1"), ("emb.1", "emb.2"), ("0", "1"), ("dim-0", "dim-1")]
)
def test_numbered_columns_are_a_vector(names: tuple[str, str]) -> None:
    names = (names[0], names[1].rstrip("_"))
    spaces = {"s": Space(name="s", dim=2)}
    batch = _batch(id=["a"], **{name: [1.0] for name in names}, year=[1])
    resolved = _resolve(batch, spaces=spaces)
    assert resolved.vectors[0].columns == names
    assert resolved.metadata(batch.schema.names) == {"year": "year"}


def test_numbered_columns_in_any_order_of_the_file_are_sorted_by_number() -> None:
    names = [f"v{i}" for i in (10, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9)]
    batch = _batch(id=["a"], **{name: [1.0] for name in names})
    resolved = _resolve(batch, spaces={"s": Space(name="s", dim=11)})
    assert resolved.vectors[0].columns == tuple(f"v{i}" for i in range(11))


def test_numbered_columns_of_another_number_are_refused() -> None:
    batch = _batch(id=["a"], v0=[1.0], v1=[1.0], v2=[1.0])
    mapping = ColumnMapping(vectors={"v": "s"})
    with pytest.raises(IngestError, match=r"expected 2 numbered columns .* got the 3 from 'v0'"):
        _resolve(batch, mapping=mapping, spaces={"s": Space(name="s", dim=2)})


def test_an_explicit_mapping_wins() -> None:
    batch = _batch(id=["a"], key=["b"], vector=VECTORS, mine=VECTORS, text=["t"], body=["u"])
    mapping = ColumnMapping(
        id="key", vectors={"mine": "v1"}, document="body", exclude=["vector"], rename={"id": "old"}
    )
    resolved = _resolve(batch, mapping=mapping)
    assert (resolved.id, resolved.document, _vectors(resolved)) == ("key", "body", {"mine": "v1"})


def test_metadata_can_be_chosen_left_out_and_renamed() -> None:
    batch = _batch(key=["a"], year=[1], lang=["en"], size=[2])
    names = batch.schema.names
    included = ColumnMapping(id="key", include=["year", "lang"], rename={"lang": "language"})
    assert _resolve(batch, mapping=included).metadata(names) == {"year": "year", "lang": "language"}
    excluded = ColumnMapping(id="key", exclude=["year"])
    assert _resolve(batch, mapping=excluded).metadata(names) == {"lang": "lang", "size": "size"}


def test_no_document_and_no_vectors_can_be_said() -> None:
    batch = _batch(id=["a"], text=["t"], vector=VECTORS)
    mapping = ColumnMapping(document="", vectors={}, exclude=["vector"])
    resolved = _resolve(batch, mapping=mapping)
    assert resolved.document is None
    assert resolved.vectors == ()
    assert resolved.metadata(batch.schema.names) == {"text": "text"}


@pytest.mark.parametrize(
    "mapping",
    [
        ColumnMapping(id="x"),
        ColumnMapping(document="x"),
        ColumnMapping(vectors={"x": "v1"}),
        ColumnMapping(include=["x"]),
        ColumnMapping(rename={"x": "y"}),
        ColumnMapping(types={"x": "string"}),
    ],
)
def test_a_missing_column_is_named_with_those_found(mapping: ColumnMapping) -> None:
    with pytest.raises(IngestError, match=r"column.*'x'.*the columns are 'id', 'year'"):
        _resolve(_batch(id=["a"], year=[1]), mapping=mapping)


def test_no_id_column_lists_those_found() -> None:
    with pytest.raises(IngestError, match="the columns are 'name', 'year'"):
        _resolve(_batch(name=["a"], year=[1]))


def test_a_space_that_was_asked_for_needs_a_column() -> None:
    with pytest.raises(IngestError, match="expected a column of vectors for space 'v1'"):
        _resolve(_batch(id=["a"], year=[1]), space="v1")


def test_an_unknown_space_is_refused() -> None:
    with pytest.raises(NotFoundError, match="v1, got 'v9'"):
        _resolve(_batch(id=["a"], vector=VECTORS), space="v9")


def test_embeddings_do_not_slip_into_the_metadata() -> None:
    long = pa.array([[0.5] * 16], pa.list_(pa.float64()))
    for stray in (VECTORS, long):
        batch = _batch(id=["a"], v1=VECTORS, title_embedding=stray)
        with pytest.raises(IngestError, match="'title_embedding' holds vectors, but no space"):
            _resolve(batch)
        mapping = ColumnMapping(exclude=["title_embedding"])
        assert _resolve(batch, mapping=mapping).metadata(batch.schema.names) == {}
    ratings = _batch(id=["a"], v1=VECTORS, ratings=pa.array([[4.5, 3.0]]))
    assert _resolve(ratings).metadata(ratings.schema.names) == {"ratings": "ratings"}


def test_reserved_and_repeated_names_are_refused() -> None:
    with pytest.raises(IngestError, match=r"'row_id'.*reserved"):
        _resolve(_batch(id=["a"], row_id=[1]))
    with pytest.raises(IngestError, match="distinct metadata"):
        _resolve(_batch(id=["a"], x=[1], y=[2]), mapping=ColumnMapping(rename={"x": "y"}))
    twice = pa.RecordBatch.from_arrays([pa.array(["a"])] * 2, names=["id", "id"])
    with pytest.raises(IngestError, match="distinct column names"):
        _resolve(twice)


def test_types_are_arrows() -> None:
    batch = _batch(id=["a"], day=["2020-01-01"])
    resolved = _resolve(batch, mapping=ColumnMapping(types={"day": "date32"}))
    assert resolved.types == {"day": pa.date32()}
    with pytest.raises(InvalidArgumentError, match="'datum'"):
        _resolve(batch, mapping=ColumnMapping(types={"day": "datum"}))
