"""Guards: vectors of another space do not enter unnoticed, and right ones enter unhindered."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest

import vecstore
from tests.planted import DIM, Model
from vecstore import SuspiciousVectorsWarning
from vecstore.errors import InvalidArgumentError, SpaceMismatchError
from vecstore.guards import Signatures, purity

N = 400


OLD, NEW, UNKNOWN = Model(1), Model(2), Model(3)


def names(rows, start=0):
    return [f"{number:05}" for number in range(start, start + rows)]


def files_of(docs):
    """Return the files of rows, registered or not."""
    folder = docs._root.folder / "data" / docs._record.directory
    return {path for kind in ("items", "vectors") for path in (folder / kind).rglob("*")}


@pytest.fixture
def docs(store):
    """A collection half of whose items have vectors by both models."""
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=DIM, model="old")
    docs.create_space("v2", dim=DIM, model="new", supersedes="v1")
    docs.upsert(ids=names(N), vectors=OLD.embed(N), space="v1", documents=[""] * N)
    docs.add_vectors(ids=names(N // 2), vectors=NEW.embed(N // 2), space="v2")
    return docs


# What is refused


@pytest.mark.parametrize("rows", [10, 50, 1000])
def test_a_batch_for_the_wrong_space_is_refused_with_both_names_and_the_evidence(docs, rows):
    version, files = docs.version, files_of(docs)
    for ours, theirs, wrong in (("v1", "v2", NEW), ("v2", "v1", OLD)):
        with pytest.raises(SpaceMismatchError) as caught:
            docs.upsert(ids=names(rows, N), vectors=wrong.embed(rows, start=9), space=ours)
        said = str(caught.value)
        looked_at = min(rows, 128)
        assert f"vectors for space {ours!r} are those of space {theirs!r}" in said
        assert f"of {looked_at} looked at lie with {theirs!r}" in said
        assert "standard deviations" in said
        assert "Nothing was written" in said
        assert "guard='off'" in said
    assert docs.version == version
    assert len(docs) == N
    assert files_of(docs) == files, "what was written while the guard looked is taken away"


def test_add_vectors_refuses_them_too_and_writes_nothing(docs):
    with pytest.raises(SpaceMismatchError, match="are those of space 'v1'"):
        docs.add_vectors(ids=names(50, N // 2), vectors=OLD.embed(50, start=9), space="v2")
    assert docs.spaces["v2"].native == N // 2


def test_copies_are_refused_where_the_space_is_still_empty(store):
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=DIM)
    docs.create_space("v2", dim=DIM)
    random = np.random.default_rng(0).normal(size=(20, DIM))
    docs.upsert(ids=names(20), vectors=random, space="v1")
    with pytest.raises(SpaceMismatchError, match="copies of those in space 'v1': 20 of the 20"):
        docs.add_vectors(ids=names(20), vectors=3 * random, space="v2")
    with pytest.warns(SuspiciousVectorsWarning, match="copies of those in space 'v1': 5 of the 5"):
        docs.add_vectors(ids=names(5), vectors=random[:5].astype(np.float16), space="v2")
    docs.add_vectors(ids=names(10, 5), vectors=random[10:], space="v2")
    assert docs.spaces["v2"].native == 15


def test_two_forms_of_one_model_may_hold_the_same_vectors(store):
    docs = store.create_collection("docs")
    docs.create_space("raw", dim=DIM, model="m", metric="l2")
    docs.create_space("small", dim=DIM, model="m", dtype="float16")
    docs.upsert(ids=names(N), vectors={"raw": OLD.embed(N)})
    docs.add_vectors(ids=names(N), vectors=OLD.embed(N), space="small")
    docs.upsert(ids=names(N, N), vectors=OLD.embed(N, start=5), space="small")
    assert all(found.pure and found.resembles is None for found in purity(docs.latest().snapshot))


# What is let in


@pytest.mark.parametrize("rows", [1, 3, 20, 500])
def test_right_vectors_enter_without_a_word(docs, rows):
    for start, (space, model) in enumerate([("v1", OLD), ("v2", NEW)] * 5):
        new = names(rows, N + start * rows)
        docs.upsert(ids=new, vectors=model.embed(rows, start=20 + start), space=space)


def test_spaces_of_other_dimensions_and_random_vectors_concern_nobody(store):
    docs = store.create_collection("docs")
    rng = np.random.default_rng(0)
    for name, dim in (("v1", 16), ("v2", 16), ("v3", 24)):
        docs.create_space(name, dim=dim)
    for start in range(0, 600, 100):
        vectors = {name: rng.normal(size=(100, d)) for name, d in (("v1", 16), ("v3", 24))}
        docs.upsert(ids=names(100, start), vectors=vectors)
        docs.add_vectors(ids=names(100, start), vectors=rng.normal(size=(100, 16)), space="v2")


def test_zero_vectors_are_no_reason_to_fail(store):
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=DIM, metric="l2")
    docs.upsert(ids=names(50), vectors=np.zeros((50, DIM)))
    docs.upsert(ids=names(50, 50), vectors=OLD.embed(50))
    docs.upsert(ids=names(50, 100), vectors=np.vstack([np.zeros((1, DIM)), OLD.embed(49, start=1)]))
    assert len(docs) == 150


# What is said


def test_tiny_batches_are_written_with_a_warning_at_the_callers_line(docs):
    with pytest.warns(SuspiciousVectorsWarning, match="look like those of space 'v2'") as caught:
        docs.upsert(ids=["x"], vectors=NEW.embed(1, start=9), space="v1")
    assert caught[0].filename == __file__
    assert docs.get(["x"])[0].id == "x"


def test_unknown_models_and_new_domains_are_spoken_of_and_written(docs):
    with pytest.warns(SuspiciousVectorsWarning, match="unlike those it has"):
        docs.upsert(ids=names(50, N), vectors=UNKNOWN.embed(50, start=9), space="v1")
    assert docs.spaces["v1"].native == N + 50


def test_a_finding_is_said_once_and_not_with_every_batch(docs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for start in range(5):
            vectors = UNKNOWN.embed(20, start=start)
            docs.upsert(ids=names(20, N + 20 * start), vectors=vectors, space="v1")
    assert len(caught) == 1


def test_some_wrong_vectors_in_a_batch_are_spoken_of(docs):
    mixed = np.vstack([OLD.embed(40, start=5), NEW.embed(10, start=6)])
    with pytest.warns(SuspiciousVectorsWarning, match="10 of 50 looked at lie with 'v2'"):
        docs.upsert(ids=names(50, N), vectors=mixed, space="v1")


def test_other_lengths_are_spoken_of_where_length_counts(store):
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=DIM, metric="ip")
    rows = OLD.embed(200)
    docs.upsert(ids=names(200), vectors=rows)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    with pytest.warns(SuspiciousVectorsWarning, match="other lengths than all it has"):
        docs.upsert(ids=names(200, 200), vectors=unit)


# Who decides


def test_the_caller_can_be_warned_only_or_not_at_all(docs):
    wrong = NEW.embed(50, start=9)
    with pytest.warns(SuspiciousVectorsWarning, match="are those of space 'v2'"):
        docs.upsert(ids=names(50, N), vectors=wrong, space="v1", guard="warn")
    docs.upsert(ids=names(50, N + 50), vectors=wrong, space="v1", guard="off")
    assert docs.spaces["v1"].native == N + 100
    with pytest.raises(InvalidArgumentError, match="refuse, warn, off"):
        docs.upsert(ids=["x"], vectors=wrong[:1], space="v1", guard="no")


def test_wrong_vectors_that_were_deleted_do_not_speak_against_right_ones(docs):
    docs.upsert(ids=names(N), vectors=NEW.embed(N), space="v1", guard="off")
    assert np.isclose(docs.spaces["v1"].coverage, 1.0)
    docs.add_vectors(ids=names(N), vectors=OLD.embed(N), space="v2", guard="off")
    with pytest.raises(SpaceMismatchError, match="are those of space 'v2'"):
        docs.upsert(ids=names(50, N), vectors=OLD.embed(50, start=1), space="v1")
    docs.delete(where="true")
    docs.upsert(ids=names(N), vectors=OLD.embed(N), space="v1")
    docs.add_vectors(ids=names(N), vectors=NEW.embed(N), space="v2")
    docs.upsert(ids=names(50, N), vectors=OLD.embed(50, start=1), space="v1")


def test_what_a_cascade_embeds_is_held_against_the_spaces_too(docs, caplog):
    class Wrong:
        name, revision, dim = "new", None, DIM
        profile = vecstore.EncodingProfile()

        def encode_documents(self, texts):
            return OLD.embed(len(texts), start=77)

        encode_queries = encode_documents

    query = {"v1": OLD.embed(1)[0], "v2": NEW.embed(1)[0]}
    with caplog.at_level(logging.WARNING, "vecstore"):
        docs.search(query, space="v2", k=5, encoder=Wrong(), depth=N)
        with pytest.raises(SpaceMismatchError, match="are those of space 'v1'"):
            docs.flush()
    assert "given up" in caplog.text
    docs.flush()
    assert docs.spaces["v2"].native == N // 2


# The cache


def test_every_process_and_catalog_guards_by_the_same_sample(place):
    with place.open() as store:
        docs = store.create_collection("docs")
        docs.create_space("v1", dim=DIM, model="old")
        docs.create_space("v2", dim=DIM, model="new")
        for start in range(4):
            docs.upsert(ids=names(40, 40 * start), vectors=OLD.embed(40, start=start), space="v1")
            docs.add_vectors(
                ids=names(40, 40 * start), vectors=NEW.embed(40, start=start), space="v2"
            )
        folder = place.data / "data" / docs._record.directory / "signatures"
    kept = sorted(folder.glob("*.arrow"))
    assert kept
    for damage in (lambda _: None, lambda file: file.write_bytes(b"x"), lambda file: file.unlink()):
        for file in kept:
            damage(file)
        with place.open() as store:
            docs = store.collection("docs")
            with pytest.raises(SpaceMismatchError, match="are those of space 'v1'"):
                docs.upsert(ids=names(20, 900), vectors=OLD.embed(20, start=50), space="v2")


def test_a_changed_sample_is_not_believed(docs):
    docs.upsert(ids=names(1, N), vectors=OLD.embed(1, start=4), space="v1")
    snapshot, record = docs.latest().snapshot, docs.latest().snapshot.space("v1")
    folder = f"data/{docs._record.directory}/signatures"
    file = docs._root.folder / folder / f"{record.directory}.arrow"
    honest = Signatures(docs._root, folder).of(snapshot, record)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    again = Signatures(docs._root, folder).of(snapshot, record)
    anew = Signatures(docs._root, "elsewhere").of(snapshot, record)
    assert (honest.n, again.n) == (N, N + 1)
    np.testing.assert_array_equal(again.mean, anew.mean)


def test_a_space_is_learned_again_when_it_has_grown_by_a_factor(docs, monkeypatch):
    learned = []
    fit = vecstore.guards.signatures.SpaceSignature.fit

    def counted(vectors, *, items):
        learned.append(len(vectors))
        return fit(vectors, items=items)

    monkeypatch.setattr("vecstore.guards.signatures.SpaceSignature.fit", counted)
    for start in range(N, 20 * N, 200):
        docs.upsert(ids=names(200, start), vectors=OLD.embed(200, start=start), space="v1")
    # The other space once, which had 200 vectors; this one, known at 400, at 800, 1,600 and 6,400.
    assert learned == [N // 2, 2 * N, 1024, 1024]


# Purity


def test_clean_spaces_are_pure(docs):
    found = {each.space: each for each in purity(docs.latest().snapshot)}
    assert [each.pure for each in found.values()] == [True, True]
    assert found["v1"].rows == N
    assert found["v1"].looked_at == 256
    assert found["v2"].looked_at == N // 2


@pytest.mark.parametrize(
    ("in_new", "in_old"), [(20, 0), (80, 0), (200, 0), (600, 0), (20, 40), (80, 40)]
)
def test_strays_are_found_with_their_share_and_their_file(docs, in_new, in_old):
    docs.upsert(ids=names(in_new, N), vectors=OLD.embed(in_new, start=3), space="v2", guard="off")
    if in_old:
        wrong = NEW.embed(in_old, start=4)
        docs.upsert(ids=names(in_old, 2 * N), vectors=wrong, space="v1", guard="off")
    for found, other, strays, right in zip(
        purity(docs.latest().snapshot), ("v2", "v1"), (in_old, in_new), (N, N // 2), strict=True
    ):
        assert found.pure == (strays == 0)
        assert found.rows == right + strays
        assert found.strays.get(other, 0) == pytest.approx(strays / found.rows, abs=0.02)
        assert [(file.other, file.rows) for file in found.files if file.share > 0.5] == (
            [(other, strays)] if strays else []
        )


def test_a_space_that_holds_anothers_vectors_only_resembles_it(docs):
    docs.create_space("v3", dim=DIM)
    docs.upsert(ids=names(N, N), vectors=OLD.embed(N, start=3), space="v3", guard="off")
    found = {each.space: each for each in purity(docs.latest().snapshot)}
    assert found["v3"].resembles == "v1"
    assert found["v2"].resembles is None
