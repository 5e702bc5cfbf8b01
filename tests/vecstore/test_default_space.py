"""The default query space: one commit to switch, one to go back, and versions keep theirs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vecstore
from vecstore.catalog import DefaultRecord, State
from vecstore.errors import InvalidArgumentError, NotFoundError


def filled(store, *names):
    docs = store.create_collection("docs")
    rng = np.random.default_rng(0)
    older = None
    for name in names or ("v1", "v2"):
        docs.create_space(name, dim=3, model=name, supersedes=older)
        older = name
    ids = [f"{n}" for n in range(12)]
    vectors = {name: rng.standard_normal((12, 3)) for name in docs.spaces}
    docs.upsert(ids=ids, vectors=vectors)
    return docs


def test_searches_that_name_no_space_rank_in_the_default(place):
    with place.open() as store:
        docs = filled(store)
        query = docs.get("5", spaces=["v2"]).vectors["v2"]
        with pytest.raises(InvalidArgumentError, match="switch_space"):
            docs.search(query)
        before = docs.version
        done = docs.switch_space("v2")
        assert (done.before, done.after, done.version) == (None, "v2", before + 1)
        hits = docs.search(query, k=3)
        assert hits.plan.target.space.name == "v2"
        assert hits.ids == docs.search(query, space="v2", k=3).ids
        assert docs.search({"v1": query, "v2": query}).plan.target.space.name == "v2"
        docs.switch_space("v1")
        # Also where the query has a vector of a newer space; but it needs one of the default.
        assert docs.search({"v1": query, "v2": query}).plan.target.space.name == "v1"
        assert docs.search({"v2": query}).plan.target.space.name == "v2"
        assert docs.explain().target.space.name == "v1"
        assert [s.default for s in docs.spaces.values()] == [True, False]
    with place.open() as store:
        assert store.collection("docs").default_space == "v1"


def test_switching_and_rolling_back_are_one_commit_each_and_versions_keep_theirs(place):
    with place.open() as store:
        docs = filled(store)
        first = docs.version
        docs.switch_space("v1")
        docs.switch_space("v2")
        assert docs.rollback_space().after == "v1"
        assert docs.rollback_space().after is None
        with pytest.raises(InvalidArgumentError, match="roll back"):
            docs.rollback_space()
        seen = [docs.at(version).default_space for version in range(first, docs.version + 1)]
        assert seen == [None, "v1", "v2", "v1", None]
        operations = [record.operation for record in docs.versions()[-4:]]
        assert operations == [
            "switch to space v1",
            "switch to space v2",
            "roll back to space v1",
            "roll back to no default space",
        ]


def test_another_handle_sees_a_switch(place):
    with place.open() as store, place.open() as other:
        docs = filled(store)
        theirs = other.collection("docs")
        assert theirs.default_space is None
        docs.switch_space("v2")
        assert theirs.refresh().default_space == "v2"


def test_switching_to_the_default_commits_nothing(store):
    docs = filled(store)
    docs.switch_space("v1")
    version = docs.version
    done = docs.switch_space("v1")
    assert (done.before, done.after, done.version) == ("v1", "v1", version)
    assert docs.version == version


def test_a_default_that_is_not_there_is_refused(store):
    docs = filled(store)
    with pytest.raises(NotFoundError, match="'v9'"):
        docs.switch_space("v9")
    docs.switch_space("v1")
    with pytest.raises(InvalidArgumentError, match="default"):
        docs.drop_space("v1")
    docs.switch_space("v2")
    docs.drop_space("v1")
    with pytest.raises(NotFoundError, match="dropped"):
        docs.rollback_space()
    # A new space under the old name is another space.
    docs.create_space("v1", dim=3)
    with pytest.raises(NotFoundError, match="dropped"):
        docs.rollback_space()
    assert docs.default_space == "v2"


@settings(max_examples=200)
@given(st.lists(st.one_of(st.sampled_from("abc"), st.none()), max_size=14))
def test_defaults_are_an_undo_stack(steps):
    """None rolls back, a letter switches; a list is the oracle."""
    stack, records = [None], []

    def state():
        return State(
            collection=None, version=len(records), schema=None, spaces=(),
            files=(), translators=(), defaults=tuple(records),
        )  # fmt: skip

    for number, step in enumerate(steps, start=1):
        if step is not None:
            stack.append(step)
            records.append(DefaultRecord(version=number, space_id=step))
        else:
            current = state().default_at(number)
            if current is None:
                assert stack == [None]
                records.append(DefaultRecord(version=number, space_id=None, restored_version=-1))
                continue
            stack.pop()
            before = state().default_at(current.version - 1)
            records.append(
                DefaultRecord(
                    version=number,
                    space_id=None if before is None else before.space_id,
                    restored_version=-1 if before is None else before.version,
                )
            )
        found = state().default_at(number)
        assert (None if found is None else found.space_id) == stack[-1]


def test_a_batch_of_texts_is_embedded_for_the_default(store):
    docs = filled(store)

    class Encoder:
        name, revision, dim = "v2", None, 3
        profile = vecstore.EncodingProfile()

        def encode_documents(self, texts):
            return np.ones((len(texts), 3), np.float32)

        encode_queries = encode_documents

    docs.use_encoder("v2", Encoder())
    docs.switch_space("v2")
    assert docs.search(text="words", k=2).plan.target.space.name == "v2"
