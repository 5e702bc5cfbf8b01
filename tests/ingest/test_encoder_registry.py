"""Encoders by address: what is read back is what was written, and nothing else is believed."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vecstore
from vecstore import Encoder, EncodingProfile
from vecstore.errors import (
    IngestError,
    InvalidArgumentError,
    InvalidVectorsError,
    MissingDependencyError,
    NotFoundError,
)
from vecstore_ingest import LookupEncoder, encoder_schemes, open_encoder, register_encoder
from vecstore_ingest.encoders import registry
from vecstore_ingest.encoders.address import Address

VECTORS = np.arange(8, dtype=np.float32).reshape(4, 2)
TEXTS = ["a", "b", "c", "d"]


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})


# Addresses


@given(
    name=st.text(st.characters(exclude_characters="?", exclude_categories=["Cs"]), min_size=1),
    options=st.dictionaries(
        st.from_regex(r"[a-z_]+", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"])),
        max_size=4,
    ),
)
def test_an_address_is_read_as_it_was_written(name, options):
    address = Address(scheme="s", name=name, options=options)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["", "model", ":model", "openai:", "Open AI:m", "a:b?", "a:b?c", "a:b?c=1&c=2", "a:?c=1"],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InvalidArgumentError, match=r"scheme:name|option=value"):
        open_encoder(text)


def test_an_unknown_scheme_lists_the_known_ones():
    with pytest.raises(NotFoundError, match="openai, python, sentence-transformers, vectors"):
        open_encoder("opennai:m")


# Registering


def test_options_reach_the_factory_with_the_types_it_declares():
    seen = []

    def factory(name, /, *, dim: int = 2, scale: float | None = None, half: bool = False, tag="t"):
        seen.append((name, dim, scale, half, tag))
        return LookupEncoder(name=name, texts=[], vectors=np.empty((0, dim)))

    register_encoder("fixed", factory)
    assert "fixed" in encoder_schemes()
    open_encoder("fixed:m?dim=3&scale=0.5&half=TRUE&tag=7")
    open_encoder("fixed:m?dim=3", dim=4, tag="by name wins")
    assert seen == [("m", 3, 0.5, True, "7"), ("m", 4, None, False, "by name wins")]
    for address, said in (
        ("fixed:m?dim=three", "dim of an encoder to be a number"),
        ("fixed:m?half=1", "half of an encoder to be true or false"),
        ("fixed:m?name=x", "no option 'name'.*dim, scale, half, tag"),
    ):
        with pytest.raises(InvalidArgumentError, match=said):
            open_encoder(address)
    with pytest.raises(InvalidArgumentError, match="lower-case"):
        register_encoder("No Scheme", factory)


# Import paths


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "our_models.py").write_text(
        """
import numpy as np
import vecstore

class Ours:
    name, revision, dim, profile = "ours", "1", 2, vecstore.EncodingProfile()
    def __init__(self, scale=1.0):
        self.scale = scale
    def encode_documents(self, texts):
        return np.array([[len(t), self.scale] for t in texts], np.float32)
    encode_queries = encode_documents

def make(scale=2.0):
    return Ours(scale)

ready = Ours(3.0)
number = 5
half = type("Half", (), {"name": "h", "encode_documents": None})
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "our_models"
    sys.modules.pop("our_models", None)


def test_an_encoder_of_ones_own_is_found_by_its_import_path(module):
    for name, scale in (("Ours", 1.0), ("make", 2.0), ("ready", 3.0)):
        encoder = open_encoder(f"python:{module}:{name}")
        assert isinstance(encoder, Encoder)
        assert (encoder.name, encoder.revision, encoder.dim) == ("ours", "1", 2)
        assert encoder.address == f"python:{module}:{name}"
        assert encoder.encode_documents(["ab"]).tolist() == [[2.0, scale]]
        assert encoder.encode_queries(["ab"]).tolist() == [[2.0, scale]]
    by_hand = open_encoder(f"python:{module}:make", scale=7.0)
    assert by_hand.encode_queries([""]).tolist() == [[0.0, 7.0]]
    assert by_hand.address is None


def test_what_is_no_encoder_of_ones_own_is_refused(module):
    for path, error, said in (
        (module, InvalidArgumentError, "package.module:name"),
        (f"{module}:nothing", NotFoundError, "nothing"),
        ("no_such_module_at_all:x", NotFoundError, "PYTHONPATH"),
        (f"{module}:number", InvalidArgumentError, "encode_queries"),
        (f"{module}:half", InvalidArgumentError, "lacks revision, dim, profile, encode_queries"),
    ):
        with pytest.raises(error, match=said):
            open_encoder(f"python:{path}")
    with pytest.raises(InvalidArgumentError, match="no option 'scale'"):
        open_encoder(f"python:{module}:make?scale=3")
    with pytest.raises(InvalidArgumentError, match="takes no arguments"):
        open_encoder(f"python:{module}:ready", scale=3)


# Precomputed vectors


def write(path, columns):
    if path.suffix == ".npz":
        np.savez(path, **columns)
    elif path.suffix == ".jsonl":
        rows = [
            dict(zip(columns, (str(t), v.tolist()), strict=True))
            for t, v in zip(*columns.values(), strict=True)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        values = pa.array(VECTORS.reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(values, 2)
        pq.write_table(pa.table(dict(zip(columns, (TEXTS, vectors), strict=True))), path)


@pytest.mark.parametrize("file", ["pre.parquet", "pre.npz", "pre.jsonl"])
def test_vectors_in_a_file_are_an_encoder(tmp_path, file):
    path = tmp_path / file
    write(path, {"text": np.array(TEXTS), "embedding": VECTORS})
    encoder = open_encoder(f"vectors:{path}?model=m&revision=r&query_prompt=q")
    assert (encoder.name, encoder.revision, encoder.dim) == ("m", "r", 2)
    assert encoder.profile == EncodingProfile(query_prompt="q")
    np.testing.assert_array_equal(encoder.encode_queries(["d", "a"]), VECTORS[[3, 0]])
    again = open_encoder(encoder.address)
    np.testing.assert_array_equal(again.encode_queries(TEXTS), VECTORS)
    write(path, {"words": np.array(TEXTS), "minilm": VECTORS})
    named = open_encoder(f"vectors:{path}", model="m", text="words", vector="minilm")
    np.testing.assert_array_equal(open_encoder(named.address).encode_queries(TEXTS), VECTORS)
    with pytest.raises(IngestError, match="'words', 'minilm'"):
        open_encoder(f"vectors:{path}?model=m")


def test_a_file_without_a_text_or_vector_in_every_row_is_refused(tmp_path):
    path = tmp_path / "pre.jsonl"
    for second in ({"text": "b"}, {"vector": [1, 2]}, {"text": "b", "vector": [1]}):
        path.write_text(f'{{"text": "a", "vector": [1, 2]}}\n{json.dumps(second)}\n')
        with pytest.raises(InvalidVectorsError, match="every row"):
            open_encoder(f"vectors:{path}?model=m")
    with pytest.raises(IngestError, match="no such file"):
        open_encoder(f"vectors:{tmp_path}/none.parquet?model=m")
    path.write_text("")
    with pytest.raises(IngestError, match="empty"):
        open_encoder(f"vectors:{path}?model=m")


def test_a_space_finds_its_file_of_vectors_again(tmp_path, monkeypatch):
    write(tmp_path / "pre.parquet", {"text": TEXTS, "vector": VECTORS})
    monkeypatch.chdir(tmp_path)
    with vecstore.open("store") as store:
        docs = store.create_collection("docs")
        docs.create_space("v", encoder=open_encoder("vectors:pre.parquet?model=m"), metric="l2")
        docs.upsert(ids=TEXTS, documents=TEXTS)
    monkeypatch.chdir("/")
    with vecstore.open(tmp_path / "store", encoders=open_encoder) as store:
        assert store.collection("docs").search(text="c", k=2).ids[0] == "c"


# Extras


@pytest.mark.parametrize(
    ("address", "library", "extra"),
    [
        ("openai:m?base_url=http://localhost:1", "httpx2", "openai"),
        ("sentence-transformers:m", "sentence_transformers", "sentence-transformers"),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_extra(address, library, extra):
    code = f"""
import sys
sys.modules[{library!r}] = None
from vecstore.errors import {MissingDependencyError.__name__} as Missing
from vecstore_ingest import open_encoder
try:
    open_encoder({address!r})
except Missing as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert f"vecstore[{extra}]" in done.stdout
