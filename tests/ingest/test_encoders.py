"""Precomputed encodings."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore import Encoder
from vecstore.errors import InvalidVectorsError, NotFoundError, UnpairedRowsError
from vecstore_ingest import LookupEncoder

VECTORS = np.arange(6, dtype=np.float16).reshape(3, 2)


@pytest.fixture
def encoder() -> LookupEncoder:
    return LookupEncoder(name="m", revision="r", texts=["a", "b", "a"], vectors=VECTORS)


def test_texts_get_their_vectors_in_order(encoder: LookupEncoder) -> None:
    for encode in (encoder.encode_documents, encoder.encode_queries):
        found = encode(["b", "a", "b"])
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, VECTORS[[1, 2, 1]])
    assert encoder.encode_documents([]).shape == (0, 2)


def test_it_has_the_protocol_of_encoders(encoder: LookupEncoder) -> None:
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.revision, encoder.dim) == ("m", "r", 2)


def test_unknown_texts_are_counted_and_shown(encoder: LookupEncoder) -> None:
    with pytest.raises(NotFoundError, match="2 of 3 are unknown, such as 'x', 'y'"):
        encoder.encode_queries(["x", "a", "y"])


def test_texts_and_vectors_must_match() -> None:
    with pytest.raises(UnpairedRowsError):
        LookupEncoder(name="m", texts=["a"], vectors=VECTORS)
    with pytest.raises(InvalidVectorsError):
        LookupEncoder(name="m", texts=["a"], vectors=np.zeros(3))
