"""Files of plain documents: their vectors are made on the way in, exactly once."""

from __future__ import annotations

import json

import numpy as np
import pytest

import vecstore
from tests.ingest.embedding_server import DIM, Reply, answer, embedding, embedding_server
from vecstore.errors import EncoderError, IngestError
from vecstore_ingest import ColumnMapping, LookupEncoder, ingest, settle
from vecstore_ingest.encoders.openai import OpenAIEncoder

N = 23


@pytest.fixture
def server():
    with embedding_server() as running:
        yield running


@pytest.fixture
def encoder(server):
    encoder = OpenAIEncoder("m", base_url=server.url, backoff=0.001, attempts=2, concurrency=1)
    yield encoder
    encoder.close()


@pytest.fixture
def docs(tmp_path, encoder):
    with vecstore.open(tmp_path / "store") as store:
        docs = store.create_collection("docs")
        docs.create_space("v1", dim=3, model="old")
        docs.create_space("v2", encoder=encoder, supersedes="v1", metric="l2")
        yield docs


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps(row(n)) + "\n" for n in range(N)))
    return path


def row(n):
    return {"id": str(n), "text": f"text {n}", "n": n}


def assert_embedded(docs, numbers, space="v2"):
    items = docs.get([str(n) for n in numbers], spaces=[space])
    for number, item in zip(numbers, items, strict=True):
        np.testing.assert_allclose(item.vectors[space], embedding(f"text {number}"), rtol=1e-6)


@pytest.mark.parametrize("space", [None, "v2"])
def test_documents_without_vectors_are_embedded_for_the_target_space(docs, file, space):
    report = ingest(docs, file, space=space)
    assert report.rows_written == N
    assert docs.spaces["v2"].coverage == 1.0
    assert docs.spaces["v1"].native == 0
    assert_embedded(docs, range(N))
    assert docs.get("3").metadata == {"n": 3}


def test_vectors_in_the_file_are_taken_and_their_absence_in_a_row_is_kept(
    docs, file, server, encoder
):
    lines = [row(n) | {"v1": [1, 0, n] if n % 2 else None} for n in range(N)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = len(server.bodies)
    ingest(docs, file)
    ingest(docs, file, mapping=ColumnMapping(vectors={}, exclude=["v1"]))
    assert len(docs) == N
    assert len(server.bodies) == before


def test_rows_without_a_document_are_items_without_a_vector(docs, file):
    rows = [row(n) | ({} if n % 3 else {"text": None}) for n in range(N)]
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    ingest(docs, file)
    with_text = [n for n in range(N) if n % 3]
    assert docs.spaces["v2"].native == len(with_text)
    assert_embedded(docs, with_text)


def test_a_space_that_cannot_embed_needs_a_column_of_vectors(docs, file):
    with pytest.raises(IngestError, match=r"column of vectors.*'text'.*use_encoder.*0 rows"):
        ingest(docs, file, space="v1")
    with pytest.raises(IngestError, match="expected a column of vectors for space 'v1'"):
        ingest(docs, file, space="v1", mapping=ColumnMapping(document=""))
    with pytest.raises(IngestError, match="column of vectors for space 'v2'"):
        ingest(docs, file, space="v2", mode="add_vectors")
    assert len(docs) == 0


def test_each_step_of_embedding_is_committed_and_a_failed_job_goes_on_there(
    docs, file, server, monkeypatch
):
    monkeypatch.setattr(settle, "_EMBEDDED_ROWS", 5)
    good = len(server.bodies) + 3
    server.always = lambda body: (
        Reply(body=answer(body)) if len(server.bodies) <= good else Reply(status=503, body={})
    )
    with pytest.raises(EncoderError, match="15 rows of this job are committed; run it again"):
        ingest(docs, file)
    assert len(docs) == docs.spaces["v2"].native == 15
    server.always = lambda body: Reply(body=answer(body))
    before = len(server.bodies)
    report = ingest(docs, file)
    assert (report.rows_written, report.resumed_from, report.batches) == (N, 15, 5)
    assert [text for body in server.bodies[before:] for text in body["input"]] == [
        f"text {n}" for n in range(15, N)
    ]
    assert_embedded(docs, range(N))


def test_a_text_that_the_endpoint_refuses_is_a_bad_row(docs, file, server):
    server.always = lambda body: (
        Reply(status=400, body={"error": {"message": "too long"}})
        if "text 9" in body["input"]
        else Reply(body=answer(body))
    )
    with pytest.raises(IngestError, match=r"line 10.*too long.*9 rows"):
        ingest(docs, file)
    report = ingest(docs, file, on_error="skip")
    assert (report.rows_written, report.rows_rejected) == (N - 1, 1)
    assert_embedded(docs, [n for n in range(N) if n != 9])


def test_a_text_that_the_encoder_does_not_know_is_a_bad_row(docs, file, tmp_path):
    known = [f"text {n}" for n in range(N) if n not in (4, 17)]
    vectors = np.array([embedding(text) for text in known], np.float32)
    docs.create_space("v3", encoder=LookupEncoder(name="l", texts=known, vectors=vectors))
    rejects = tmp_path / "rejects.jsonl"
    report = ingest(docs, file, space="v3", on_error="skip", rejects=rejects)
    assert (report.rows_written, report.rows_rejected) == (N - 2, 2)
    rejected = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [each["row"] for each in rejected] == [4, 17]
    assert all("computed beforehand" in each["reason"] for each in rejected)
    assert docs.spaces["v3"].native == N - 2
    assert docs.spaces["v3"].dim == DIM
