"""Encoders of spaces: the guard, what a space remembers, and texts in the place of vectors."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
import pytest

import vecstore
from vecstore import EncodingProfile
from vecstore.encoding import BATCH, require_encoder
from vecstore.errors import (
    InvalidArgumentError,
    SpaceMismatchError,
    UnpairedRowsError,
    UnsupportedOperationError,
)

DIM = 8


class Hashed:
    """A deterministic encoder of texts; queries are embedded otherwise than documents."""

    def __init__(self, *, name="m", revision="1", dim=DIM, profile=None, address=None):
        self.name, self.revision, self.dim = name, revision, dim
        self.profile = profile or EncodingProfile()
        if address is not None:
            self.address = address
        self.batches = []
        self.closed = False

    def encode_documents(self, texts):
        self.batches.append(len(texts))
        return self._vectors(texts, self.profile.document_prompt)

    def encode_queries(self, texts):
        self.batches.append(len(texts))
        return self._vectors(texts, f"query {self.profile.query_prompt}")

    def close(self):
        self.closed = True

    def _vectors(self, texts, prompt):
        seeds = [hashlib.sha256(f"{prompt}{text}".encode()).digest() for text in texts]
        rows = [np.frombuffer(seed, np.uint8)[: self.dim] for seed in seeds]
        return np.array(rows, np.float32).reshape(len(texts), self.dim) - 127.5


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def docs(store):
    return store.create_collection("docs")


# The guard


@pytest.mark.parametrize(
    ("differs", "said"),
    [
        ({"name": "n"}, "'n'"),
        ({"revision": "2"}, "'2'"),
        ({"dim": DIM + 1}, "dimensions"),
        ({"profile": EncodingProfile()}, "document_prompt='passage: '"),
        ({"profile": EncodingProfile(document_prompt="passage: ", query_prompt="q")}, "query_prom"),
        ({"profile": EncodingProfile(document_prompt="passage: ", pooling="cls")}, "pooling='cls'"),
        ({"profile": EncodingProfile(document_prompt="passage: ", max_tokens=9)}, "max_tokens=9"),
    ],
)
def test_an_encoder_of_another_embedding_function_is_refused_by_what_differs(docs, differs, said):
    profile = EncodingProfile(document_prompt="passage: ", pooling="mean", max_tokens=512)
    space = docs.create_space("v", dim=DIM, model="m", revision="1", profile=profile)
    require_encoder(Hashed(profile=profile), space)
    with pytest.raises(SpaceMismatchError, match=said):
        docs.use_encoder("v", Hashed(**{"profile": profile} | differs))
    with pytest.raises(UnsupportedOperationError, match="use_encoder"):
        docs.search(text="nothing was bound", space="v")


def test_what_is_not_declared_is_accepted(docs):
    full = EncodingProfile(pooling="mean", max_tokens=512)
    for number, (ours, theirs) in enumerate([(EncodingProfile(), full), (full, EncodingProfile())]):
        docs.create_space(f"v{number}", dim=DIM, profile=ours)
        docs.use_encoder(f"v{number}", Hashed(revision=None, profile=theirs))


# What a space takes from its encoder and remembers


def test_a_space_is_described_by_its_encoder(docs):
    profile = EncodingProfile(query_prompt="query: ", max_tokens=512)
    encoder = Hashed(revision="r", profile=profile, address="test:m")
    space = docs.create_space("v", encoder=encoder, metric="l2", dtype="float16")
    expected = vecstore.Space(
        name="v",
        dim=DIM,
        model="m",
        revision="r",
        metric="l2",
        dtype="float16",
        profile=profile,
        encoder="test:m",
    )
    assert space == expected == docs.spaces["v"].space
    by_hand = docs.create_space(
        "w", dim=DIM, model="m", revision="r", metric="l2", profile=profile, dtype="float16"
    )
    assert by_hand.encoder is None
    assert by_hand.fingerprint == space.fingerprint


def test_arguments_that_contradict_the_encoder_are_refused_and_create_nothing(docs):
    for explicit in (
        {"dim": 3},
        {"model": "n"},
        {"revision": "2"},
        {"profile": EncodingProfile(query_prompt="q: ")},
    ):
        with pytest.raises(SpaceMismatchError):
            docs.create_space("v", encoder=Hashed(), **explicit)
    with pytest.raises(InvalidArgumentError, match=r"dim=.*encoder="):
        docs.create_space("v")
    assert docs.spaces == {}


def test_an_address_is_opened_once_when_it_is_needed_and_closed_with_the_store(place):
    opened = []

    def open_encoder(address):
        opened.append(Hashed(address=address))
        return opened[-1]

    with place.open() as store:
        for name in ("a", "b"):
            docs = store.create_collection(name)
            docs.create_space("v", encoder=Hashed(address="test:m"))
            docs.upsert(ids=["x"], documents=["text"])
    with place.open(encoders=open_encoder) as store:
        assert store.collection("a").spaces["v"].space.encoder == "test:m"
        assert opened == []

        def search(name):
            assert store.collection(name).search(text="text").ids == ["x"]

        threads = [threading.Thread(target=search, args=("ab"[n % 2],)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(opened) == 1
        assert sum(opened[0].batches) == 8
        bound = Hashed()
        store.collection("a").use_encoder("v", bound)
        search("a")
        assert bound.batches == [1]
    assert opened[0].closed
    assert not bound.closed
    with place.open() as store, pytest.raises(UnsupportedOperationError, match="encoders="):
        store.collection("a").search(text="text")


def test_an_address_that_opens_another_model_is_refused(place):
    with place.open(encoders=lambda address: Hashed(name="n")) as store:
        docs = store.create_collection("docs")
        docs.create_space("v", encoder=Hashed(address="test:m"))
        docs.search(text="the one it was made with is bound")
    with place.open(encoders=lambda address: Hashed(name="n")) as store:
        docs = store.collection("docs")
        with pytest.raises(SpaceMismatchError, match="'n'"):
            docs.search(text="text")


def test_a_space_made_anew_under_an_old_name_has_no_encoder_of_the_old_one(docs):
    docs.create_space("v", encoder=Hashed())
    docs.drop_space("v")
    docs.create_space("v", dim=DIM, model="m")
    with pytest.raises(UnsupportedOperationError):
        docs.search(text="text", space="v")


# Search


def test_a_text_finds_what_its_vector_finds(docs):
    encoder = Hashed(profile=EncodingProfile(query_prompt="query: "))
    docs.create_space("v", encoder=encoder)
    documents = [f"document {n}" for n in range(50)]
    docs.upsert(ids=[str(n) for n in range(50)], documents=documents)
    texts = ["one", "two", "one"]
    vectors = encoder.encode_queries(texts)
    truth = unit(vectors) @ unit(encoder.encode_documents(documents)).T
    expected = np.argsort(-truth, axis=1)[:, :7]
    result = docs.search(text=texts, k=7)
    assert result.ids.astype(int).tolist() == expected.tolist()
    assert np.array_equal(result.ids, docs.search(vectors, k=7).ids)
    single = docs.latest().search(text="two", k=7, where="id < '3'")
    assert isinstance(single, vecstore.Hits)
    assert single.ids == [i for i in map(str, np.argsort(-truth[1])) if i < "3"][:7]
    assert len(docs.search(text=[])) == 0
    other = Hashed(profile=encoder.profile)
    assert docs.search(text="two", encoder=other, k=7).ids == result[1].ids
    assert other.batches == [1]


def test_vectors_that_come_with_their_text_are_not_embedded(docs):
    encoder = Hashed()
    docs.create_space("v", encoder=encoder)
    docs.upsert(ids=["a", "b"], vectors=np.eye(2, DIM), documents=["a", "b"])
    assert docs.search(np.eye(DIM)[1], text="whatever", k=1).ids == ["b"]
    asked = docs.search(np.eye(2, DIM), text=["b", "a"], k=1, lexical=0)
    assert asked.ids.tolist() == [["a"], ["b"]]
    assert encoder.batches == []
    for vectors, text in (
        (np.eye(2, DIM), "one text"),
        (np.eye(2, DIM), ["one text"]),
        (np.ones(DIM), ["one text"]),
    ):
        with pytest.raises(UnpairedRowsError, match="same queries"):
            docs.search(vectors, text=text)
    with pytest.raises(InvalidArgumentError, match="neither"):
        docs.search()
    with pytest.raises(InvalidArgumentError, match="number 1 is 5"):
        docs.search(text=["a", 5])


def test_a_cascade_embeds_with_the_encoder_of_its_space(docs):
    rng = np.random.default_rng(0)
    encoder = Hashed()
    documents = [f"document {n}" for n in range(60)]
    new = encoder.encode_documents(documents)
    ids = [str(n) for n in range(60)]
    docs.create_space("v1", dim=5, model="old")
    docs.upsert(ids=ids, vectors=new @ rng.standard_normal((DIM, 5)), documents=documents)
    docs.create_space("v2", encoder=encoder, supersedes="v1")
    docs.add_vectors(ids=ids[:30], vectors=new[:30], space="v2")
    docs.fit_translator(source="v1", target="v2", family="ridge")
    passed = docs.search(text="q", space="v2", depth=60, encoder=Hashed(), commit=False)
    found = docs.search(text="q", space="v2", depth=60)
    assert found.ids == passed.ids
    assert found.embedded == passed.embedded == 30
    assert docs.spaces["v2"].coverage == 1.0


# Upsert


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_documents_are_embedded_where_there_are_any(docs, metric, dtype):
    encoder = Hashed()
    docs.create_space("v", encoder=encoder, metric=metric, dtype=dtype)
    docs.upsert(ids=["a", "b", "c"], documents=["one", None, "three"])
    docs.upsert(ids=["d"], documents=[None], space="v")
    docs.upsert(ids=[], documents=[], space="v")
    items = {item.id: item for item in docs.get(["a", "b", "c", "d"], spaces=["v"])}
    assert {name for name, item in items.items() if item.vectors} == {"a", "c"}
    expected = docs.spaces["v"].space.prepare(encoder.encode_documents(["one", "three"]))
    found = [items["a"].vectors["v"], items["c"].vectors["v"]]
    np.testing.assert_allclose(found, expected.astype(np.float32), rtol=1e-4)
    assert docs.spaces["v"].native == 2


def test_many_documents_are_embedded_in_batches(docs):
    encoder = Hashed()
    docs.create_space("v", encoder=encoder)
    n = 2 * BATCH + 1
    docs.upsert(ids=[str(i) for i in range(n)], documents=[f"text {i}" for i in range(n)])
    assert encoder.batches == [BATCH, BATCH, 1]
    got = docs.get(str(n - 1), spaces=["v"]).vectors["v"]
    np.testing.assert_allclose(got, unit(encoder.encode_documents([f"text {n - 1}"]))[0], atol=1e-6)


def test_without_a_named_space_the_newest_generation_embeds_if_it_can(docs):
    docs.create_space("v1", encoder=Hashed())
    docs.create_space("v2", dim=DIM, model="new", supersedes="v1")

    def spaces_of(name):
        return set(docs.get(name, spaces=list(docs.spaces)).vectors)

    docs.upsert(ids=["a"], documents=["text"])
    assert spaces_of("a") == set()
    docs.use_encoder("v2", Hashed(name="new"))
    docs.upsert(ids=["b"], documents=["text"])
    docs.upsert(ids=["c"], documents=["text"], space="v1")
    docs.upsert(ids=["d"], documents=["text"], vectors={})
    docs.upsert(ids=["e"])
    assert [spaces_of(name) for name in "bcde"] == [{"v2"}, {"v1"}, set(), set()]
    docs.create_space("w", encoder=Hashed(name="new"), supersedes="v1")
    docs.upsert(ids=["f"], documents=["text"])
    assert spaces_of("f") == set()


def test_documents_for_a_space_that_cannot_embed_are_refused_and_not_written(docs):
    docs.create_space("v", dim=DIM)
    with pytest.raises(UnsupportedOperationError, match="use_encoder"):
        docs.upsert(ids=["a"], documents=["text"], space="v")

    class Forgetful(Hashed):
        def encode_documents(self, texts):
            return super().encode_documents(texts)[:-1]

    docs.use_encoder("v", Forgetful())
    with pytest.raises(UnpairedRowsError, match="expected 2 vectors, got 1"):
        docs.upsert(ids=["a", "b"], documents=["text", "text"])
    assert len(docs) == 0


def test_a_remembered_encoder_that_cannot_be_opened_stops_a_write(place):
    with place.open() as store:
        store.create_collection("docs").create_space("v", encoder=Hashed(address="test:m"))
    with place.open() as store:
        docs = store.collection("docs")
        with pytest.raises(UnsupportedOperationError, match="open_encoder"):
            docs.upsert(ids=["a"], documents=["text"])
        docs.upsert(ids=["a"], documents=["text"], vectors={})
        assert len(docs) == 1
