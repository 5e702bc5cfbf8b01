"""The HTTP encoder against a real server that throttles, fails, shuffles and lies."""

from __future__ import annotations

import itertools
import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest

import vecstore
from tests.ingest.embedding_server import DIM, Reply, answer, embedding, embedding_server, shuffled
from vecstore import Encoder
from vecstore.errors import EncoderError, InvalidArgumentError
from vecstore_ingest import open_encoder
from vecstore_ingest.encoders.endpoint import key_variable
from vecstore_ingest.encoders.openai import OpenAIEncoder
from vecstore_ingest.encoders.patience import delay_before_retry, retry_after

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def server():
    with embedding_server() as running:
        yield running


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "VECSTORE_API_KEY_127_0_0_1"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def encoder_at(server):
    opened = []

    def open_at(name="m", **options):
        defaults = {"base_url": server.url, "backoff": 0.001, "timeout": 5.0}
        opened.append(OpenAIEncoder(name, **(defaults | options)))
        return opened[-1]

    yield open_at
    for encoder in opened:
        encoder.close()


def expected(texts, prompt="", dim=DIM):
    return np.array([embedding(prompt + text, dim) for text in texts], dtype=np.float32)


# What is asked and what comes back


@pytest.mark.parametrize("concurrency", [1, 4])
def test_texts_get_their_vectors_in_order_whatever_the_batches(server, encoder_at, concurrency):
    server.always = shuffled
    encoder = encoder_at(batch_size=7, concurrency=concurrency)
    texts = [f"text {n}" for n in range(50)]
    found = encoder.encode_documents(texts)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected(texts))
    assert sorted(server.sizes) == [1] + [7] * 7
    assert set(server.paths) == {"/v1/embeddings"}
    assert all(body["model"] == "m" for body in server.bodies)
    assert "dimensions" not in server.bodies[0]


def test_numbers_are_read_as_well_as_base64(server, encoder_at):
    texts = ["a", "b"]
    asked = encoder_at().encode_documents(texts)
    assert server.bodies[0]["encoding_format"] == "base64"
    server.always = lambda body: Reply(body=answer(body | {"encoding_format": "float"}))
    np.testing.assert_array_equal(encoder_at().encode_documents(texts), asked)
    np.testing.assert_array_equal(asked, expected(texts))


def test_a_batch_is_full_by_texts_or_by_characters(server, encoder_at):
    encoder = encoder_at(batch_size=3, batch_characters=10, concurrency=1, dim=DIM)
    encoder.encode_documents(["aaaa", "bbbb", "cccc", "d" * 25, "e", "f", "g", "h"])
    assert [body["input"] for body in server.bodies] == [
        ["aaaa", "bbbb"],
        ["cccc"],
        ["d" * 25],
        ["e", "f", "g"],
        ["h"],
    ]


def test_no_texts_need_no_request(server, encoder_at):
    assert encoder_at(dim=DIM).encode_documents([]).shape == (0, DIM)
    assert server.bodies == []


def test_prompts_go_before_the_texts(server, encoder_at):
    encoder = encoder_at(document_prompt="passage: ", query_prompt="query: ")
    assert encoder.profile == vecstore.EncodingProfile(
        document_prompt="passage: ", query_prompt="query: "
    )
    np.testing.assert_array_equal(encoder.encode_documents(["x"]), expected(["x"], "passage: "))
    np.testing.assert_array_equal(encoder.encode_queries(["x"]), expected(["x"], "query: "))


def test_the_dimension_is_asked_for_once_or_not_at_all(server, encoder_at):
    encoder = encoder_at()
    assert isinstance(encoder, Encoder)
    assert (encoder.dim, encoder.dim) == (DIM, DIM)
    assert len(server.bodies) == 1
    smaller = encoder_at(dimensions=2)
    assert smaller.dim == 2
    np.testing.assert_array_equal(smaller.encode_queries(["x"]), expected(["x"], dim=2))
    assert server.bodies[1]["dimensions"] == 2
    assert len(server.bodies) == 2


# Patience


def test_what_passes_by_is_tried_again(server, encoder_at):
    server.script = [
        Reply(status=500, body={"error": {"message": "oops"}}),
        Reply(status=503, body="not json"),
        Reply(drop=True),
        Reply(status=429, body={"error": {"message": "slow down", "code": "rate_limit"}}),
    ]
    np.testing.assert_array_equal(encoder_at().encode_queries(["x"]), expected(["x"]))
    assert len(server.bodies) == 5


def test_a_timeout_is_tried_again(server, encoder_at):
    server.script = [lambda body: Reply(body=answer(body), delay=0.5)]
    encoder = encoder_at(timeout=0.1, dim=DIM)
    np.testing.assert_array_equal(encoder.encode_queries(["x"]), expected(["x"]))
    assert len(server.bodies) == 2


def test_retry_after_is_honoured(server, encoder_at):
    server.script = [Reply(status=429, body={}, headers={"Retry-After": "0.3"})]
    encoder_at(dim=DIM).encode_queries(["x"])
    first, second = server.times
    assert second - first >= 0.3
    server.script = [Reply(status=429, body={}, headers={"Retry-After": "7200"})]
    with pytest.raises(EncoderError, match="asks to wait 7,200 s"):
        encoder_at(dim=DIM).encode_queries(["x"])
    assert len(server.bodies) == 3


def test_retry_after_is_seconds_or_a_date():
    assert retry_after({"retry-after": "7"}) == 7.0
    assert retry_after({"retry-after-ms": "250", "retry-after": "7"}) == 0.25
    assert retry_after({"retry-after": "-1"}) == 0.0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < retry_after({"retry-after": later}) <= 60
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


def test_delays_double_up_to_a_minute_and_scatter():
    for attempt, ceiling in enumerate([0.5, 1, 2, 4, 8, 16, 32, 60, 60]):
        drawn = {delay_before_retry(attempt, base=0.5) for _ in range(50)}
        assert len(drawn) > 40
        assert all(ceiling / 2 <= delay <= ceiling for delay in drawn)


def test_requests_keep_their_pace(server, encoder_at):
    encoder = encoder_at(requests_per_minute=1200, batch_size=1, dim=DIM)
    encoder.encode_documents([f"text {n}" for n in range(8)])
    times = sorted(server.times)
    assert len(times) == 8
    # Each goes out 50 ms after the one before; on the way they may draw together a little.
    assert times[-1] - times[0] >= 7 * 0.05 - 0.03
    assert all(later - earlier > 0.02 for earlier, later in itertools.pairwise(times))


# Failure


def test_an_endpoint_that_stays_down_is_an_encoder_error(server, encoder_at):
    server.always = lambda body: Reply(status=500, body={"error": {"message": "out of memory"}})
    with pytest.raises(EncoderError, match=r"3 attempts.*HTTP 500: out of memory"):
        encoder_at(attempts=3, dim=DIM).encode_queries(["x"])
    assert len(server.bodies) == 3
    with pytest.raises(EncoderError, match=r"2 attempts.*ConnectError"):
        encoder_at(attempts=2, base_url="http://127.0.0.1:1/v1", dim=1).encode_queries(["x"])


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(status=403, body={"error": {"message": "not yours"}}), "HTTP 403: not yours"),
        (Reply(status=401, body={"error": "who are you"}), "VECSTORE_API_KEY_127_0_0_1"),
        (Reply(status=404, body="<html>"), "HTTP 404"),
        (Reply(status=307, headers={"Location": "http://localhost:1/"}, body={}), "HTTP 307"),
        (Reply(status=429, body={"error": {"code": "insufficient_quota"}}), "insufficient_quota"),
        (Reply(body="<html>"), "expected JSON"),
        (Reply(body={}), "something else"),
        (Reply(body={"data": [{"index": 0}]}), "something else"),
        (Reply(body={"data": [{"embedding": [1.0]}]}), "something else"),
        (Reply(body={"data": [{"index": 0, "embedding": ["a", "b"]}]}), "something else"),
        (Reply(body={"data": [{"index": 0, "embedding": "AAAA"}]}), "something else"),
        (Reply(body={"data": [{"index": 0, "embedding": "no base64"}]}), "something else"),
        (Reply(body={"data": []}), "got 0 with indexes"),
        (Reply(body={"data": [{"index": 1, "embedding": [1.0]}]}), r"indexes \[1\]"),
        (Reply(body={"data": [{"index": 0, "embedding": []}]}), "one dimension"),
        (Reply(body={"data": [{"index": 0, "embedding": [1.0, 2.0]}]}), "expected vectors of 6 "),
        (Reply(body={"data": [{"index": 0, "embedding": [float("nan")] * 6}]}), "finite"),
    ],
)
def test_what_no_waiting_helps_is_refused_at_once(server, encoder_at, reply, said):
    server.always = lambda body: reply
    with pytest.raises(EncoderError, match=said):
        encoder_at(dim=DIM).encode_queries(["x"])
    assert len(server.bodies) == 1


def test_a_text_at_fault_is_found_among_the_others(server, encoder_at):
    def picky(body):
        long = any(len(text) > 10 for text in body["input"])
        said = {"error": {"message": "maximum context length"}}
        return Reply(status=400, body=said) if long else Reply(body=answer(body))

    server.always = picky
    encoder = encoder_at(dim=DIM)
    with pytest.raises(InvalidArgumentError, match=r"of 20 characters.*maximum context length"):
        encoder.encode_documents(["a", "b", "c" * 20, "d"])
    server.always = lambda body: (
        Reply(body=answer(body)) if len(body["input"]) < 3 else Reply(status=413, body={})
    )
    texts = list("abcdefgh")
    np.testing.assert_array_equal(encoder.encode_documents(texts), expected(texts))


def test_vectors_of_mixed_dimensions_are_refused(server, encoder_at):
    data = [{"index": 0, "embedding": [1.0] * 3}, {"index": 1, "embedding": [1.0] * 4}]
    server.script = [Reply(body={"data": data})]
    with pytest.raises(EncoderError, match="one dimension"):
        encoder_at().encode_queries(["x", "y"])


def test_after_a_failure_what_has_not_begun_is_not_asked(server, encoder_at):
    server.script = [Reply(status=403, body={})]
    encoder = encoder_at(batch_size=1, concurrency=2, dim=DIM)
    with pytest.raises(EncoderError):
        encoder.encode_documents([f"text {n}" for n in range(200)])
    assert len(server.bodies) < 200


# Keys


def test_a_key_is_sent_and_shown_nowhere(server, encoder_at, monkeypatch, caplog):
    monkeypatch.setenv("VECSTORE_API_KEY_127_0_0_1", f" {KEY}\n")
    caplog.set_level(logging.DEBUG)
    encoder = encoder_at(requests_per_minute=6000)
    assert encoder.dim == DIM
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    shown = [repr(encoder), str(encoder), encoder.address, caplog.text]
    echo = {"error": {"message": f"{'x' * 280} wrong key {KEY}"}}
    for reply in (
        Reply(status=401, body=echo),
        Reply(status=403, body=f"{'x' * 50}{KEY}"),
        Reply(body=f"{'x' * 50}{KEY}"),
    ):
        server.always = lambda body, reply=reply: reply
        with pytest.raises(EncoderError) as caught:
            encoder.encode_queries(["x"])
        shown.append(str(caught.value))
    for text in shown:
        assert KEY[:8] not in text


def test_a_key_with_strange_characters_is_refused_without_being_shown(encoder_at):
    for key in ("sk-a\nb", "sk-ä", "sk-a b"):
        with pytest.raises(InvalidArgumentError, match="visible ASCII") as caught:
            encoder_at(api_key=key)
        assert "sk-" not in str(caught.value)


def test_a_key_goes_to_its_own_host_only(server, encoder_at, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    encoder_at(dim=DIM).encode_queries(["x"])
    assert "authorization" not in server.headers[0]
    monkeypatch.setenv("MY_KEY", "mine")
    encoder_at(dim=DIM, api_key_env="MY_KEY").encode_queries(["x"])
    assert server.headers[1]["authorization"] == "Bearer mine"
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/")
    assert key_variable(server.url) == "OPENAI_API_KEY"
    encoder_at(dim=DIM, base_url=None).encode_queries(["x"])
    assert server.headers[2]["authorization"] == f"Bearer {KEY}"


def test_a_missing_key_is_named_before_anything_is_sent():
    with pytest.raises(InvalidArgumentError, match="OPENAI_API_KEY"):
        OpenAIEncoder("m")
    with pytest.raises(InvalidArgumentError, match="MY_KEY"):
        OpenAIEncoder("m", base_url="http://localhost:1", api_key_env="MY_KEY")


def test_an_address_can_neither_hold_nor_choose_a_key(server):
    for option in ("api_key=x", "api_key_env=HOME"):
        with pytest.raises(InvalidArgumentError, match="api_key"):
            open_encoder(f"openai:m?base_url={server.url}&{option}")
    for url in ("http://u:p@host/v1", "http://host/v1?key=x", "ftp://host", "host/v1"):
        with pytest.raises(InvalidArgumentError, match="base_url") as caught:
            OpenAIEncoder("m", base_url=url)
        assert "u:p" not in str(caught.value)


# The store


def test_a_space_embeds_through_its_address_when_the_store_is_opened_again(
    server, encoder_at, tmp_path
):
    made = encoder_at(query_prompt="query: & more?", batch_size=2, requests_per_minute=60_000)
    texts = [f"text {n}" for n in range(5)]
    with vecstore.open(tmp_path) as store:
        docs = store.create_collection("docs")
        docs.create_space("v", encoder=made)
        docs.upsert(ids=texts, documents=texts)
    with vecstore.open(tmp_path, encoders=open_encoder) as store:
        docs = store.collection("docs")
        assert docs.spaces["v"].space.encoder == made.address
        before = len(server.bodies)
        hits = docs.search(text="text 3", k=5, lexical=0)
        assert len(server.bodies) == before + 1  # no request to find the dimension again
        assert server.bodies[-1]["input"] == ["query: & more?text 3"]
        query = expected(["query: & more?text 3"])[0]
        vectors = expected(texts)
        scores = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
        assert hits.ids == [texts[n] for n in np.argsort(-scores)]
        docs.upsert(ids=["a", "b", "c"], documents=["1", "2", "3"])
        assert sorted(server.sizes[-2:]) == [1, 2]


def test_a_failing_endpoint_leaves_the_collection_as_it_was(server, encoder_at, tmp_path):
    with vecstore.open(tmp_path) as store:
        docs = store.create_collection("docs")
        docs.create_space("v", encoder=encoder_at(attempts=2))
        server.always = lambda body: Reply(status=503, body={})
        version = docs.version
        began = time.monotonic()
        with pytest.raises(EncoderError):
            docs.upsert(ids=["a"], documents=["text"])
        with pytest.raises(EncoderError):
            docs.search(text="text")
        assert time.monotonic() - began < 5
        assert docs.refresh().version == version


def test_arguments_out_of_range_are_refused():
    for wrong in (
        {"batch_size": 0},
        {"batch_characters": 0},
        {"concurrency": 0},
        {"attempts": 0},
        {"dim": 0},
        {"requests_per_minute": 0},
    ):
        with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
            OpenAIEncoder("m", base_url="http://localhost:1", **wrong)
