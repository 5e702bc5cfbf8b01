"""Any history of writes leaves a collection that equals a plain dictionary, at every version."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import vecstore
from vecstore.errors import AlreadyExistsError, InvalidMetadataError, NotFoundError
from vecstore.testing.stores import CollectionModel, check_items, check_search

IDS = [f"item {n}" for n in range(9)] + ["ünï", "a/b", "..", "x'y"]
METADATA: dict[str, st.SearchStrategy[Any]] = {
    "year": st.none() | st.integers(2000, 2030),
    "price": st.none() | st.integers(0, 9) | st.sampled_from([0.5, 2.25]),
    "tag": st.none() | st.sampled_from(["red", "green", ""]),
    "sold": st.none() | st.booleans(),
    "words": st.none() | st.lists(st.sampled_from(["p", "q"]), max_size=2),
}
FILTERS = {
    "year": ("year >= 2015", lambda m: m["year"] is not None and m["year"] >= 2015),
    "price": ("price < 3", lambda m: m["price"] is not None and m["price"] < 3),
    "tag": ({"tag": {"$in": ["red", ""]}}, lambda m: m["tag"] in ("red", "")),
    "sold": ("sold IS NULL OR NOT sold", lambda m: not m["sold"]),
}
SPACES = {
    "unit": {"dim": 3, "metric": "cosine", "dtype": "float16"},
    "product": {"dim": 4, "metric": "ip", "dtype": "float32", "supersedes": "unit"},
    "distance": {"dim": 2, "metric": "l2", "dtype": "float16"},
}
ids_of = st.lists(st.sampled_from(IDS), min_size=1, max_size=6, unique=True)
seeds = st.integers(0, 2**32 - 1)


def draw_vectors(seed: int, n: int, dim: int) -> np.ndarray:
    """Half of the draws are small integers: equal scores, which make ties, are then frequent."""
    rng = np.random.default_rng(seed)
    if seed % 2:
        grid = rng.integers(-2, 3, (n, dim)).astype(float)
        grid[~grid.any(axis=1), 0] = 1
        return grid
    return rng.standard_normal((n, dim))


class CollectionMachine(RuleBasedStateMachine):
    """Every rule is done to a collection and to its model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="vecstore-test-"))
        self.url = self.new_catalog() or str(self.folder)
        self.model = CollectionModel()
        self.history = {}
        self.open()
        self.docs = self.store.create_collection("docs")
        self.remember()
        for name in ("unit", "product"):
            self.create(name)

    def new_catalog(self) -> str | None:
        return None

    def open(self) -> None:
        self.store = vecstore.open(self.url, data=self.folder, refresh_interval=0.0)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def create(self, name: str) -> None:
        self.model.add_space(self.docs.create_space(name, **SPACES[name]))
        self.remember()

    def remember(self) -> None:
        assert self.docs.version not in self.history
        self.history[self.docs.version] = self.model.copy()

    @rule(
        ids=ids_of, seed=seeds, columns=st.sets(st.sampled_from(sorted(METADATA))), data=st.data()
    )
    def upsert(self, ids, seed, columns, data):
        spaces = data.draw(st.sets(st.sampled_from(sorted(self.model.spaces))))
        vectors = {
            name: draw_vectors(seed, len(ids), self.model.spaces[name].dim)
            for name in sorted(spaces)
        }
        documents = data.draw(
            st.none()
            | st.lists(st.none() | st.text(max_size=5), min_size=len(ids), max_size=len(ids))
        )
        table = {c: [data.draw(METADATA[c]) for _ in ids] for c in sorted(columns)}
        rows = [{c: values[n] for c, values in table.items()} for n in range(len(ids))]
        form = data.draw(st.sampled_from(["rows", "columns", "table"]))
        metadata = {"rows": rows, "columns": table, "table": pa.table(table)}[form]
        if not table:
            metadata = rows = None
        single = len(spaces) == 1 and data.draw(st.booleans())
        result = self.docs.upsert(
            ids=ids,
            vectors=next(iter(vectors.values())) if single else vectors,
            space=next(iter(vectors)) if single else None,
            documents=documents,
            metadata=metadata,
        )
        replaced = self.model.upsert(ids, vectors, documents, rows)
        assert (result.version, result.rows, result.replaced) == (
            self.docs.version,
            len(ids),
            replaced,
        )
        self.remember()

    @rule(
        ids=ids_of,
        seed=seeds,
        on_existing=st.sampled_from(["error", "skip", "replace"]),
        data=st.data(),
    )
    def add_vectors(self, ids, seed, on_existing, data):
        space = data.draw(st.sampled_from(sorted(self.model.spaces)))
        vectors = draw_vectors(seed, len(ids), self.model.spaces[space].dim)
        arguments = {"ids": ids, "vectors": vectors, "space": space, "on_existing": on_existing}
        live = [name for name in ids if name in self.model.items]
        known = [name for name in live if space in self.model.items[name].vectors]
        if len(live) < len(ids):
            with pytest.raises(NotFoundError, match="have no item"):
                self.docs.add_vectors(**arguments)
        elif known and on_existing == "error":
            with pytest.raises(AlreadyExistsError, match="on_existing"):
                self.docs.add_vectors(**arguments)
        else:
            before = self.docs.version
            result = self.docs.add_vectors(**arguments)
            how = "skip" if on_existing == "skip" else "replace"
            expected = self.model.add_vectors(ids, vectors, space, how)
            assert (result.rows, result.replaced, result.skipped) == expected
            assert result.version == self.docs.version == before + bool(result.rows)
            if result.rows:
                self.remember()

    @rule(ids=ids_of)
    def delete(self, ids):
        result = self.docs.delete(ids)
        assert result.rows == self.model.delete(ids)
        if result.rows:
            self.remember()

    @rule(column=st.sampled_from(sorted(FILTERS)))
    def delete_where(self, column):
        where, keep = FILTERS[column]
        if column not in self.model.columns:
            return
        chosen = [i.id for i in self.model.items.values() if keep(self.row(i.metadata))]
        result = self.docs.delete(where=where)
        assert result.rows == self.model.delete(chosen)
        if result.rows:
            self.remember()

    @rule()
    def conflicting_metadata(self):
        if any(isinstance(i.metadata.get("year"), int) for i in self.model.items.values()):
            with pytest.raises(InvalidMetadataError, match="year"):
                self.docs.upsert(ids=["z"], metadata={"year": ["soon"]})

    @precondition(lambda self: "distance" not in self.model.spaces)
    @rule()
    def create_third(self):
        self.create("distance")

    @precondition(lambda self: "distance" in self.model.spaces)
    @rule()
    def drop_third(self):
        self.docs.drop_space("distance")
        self.model.drop_space("distance")
        self.remember()

    @rule()
    def reopen(self):
        self.store.close()
        self.open()
        self.docs = self.store.collection("docs")

    @rule(space=st.sampled_from(sorted(SPACES)), name=st.sampled_from(["flat", "hnsw"]))
    def build_index(self, space, name):
        """An index over so few rows is exact, so it must change no answer at any version."""
        if space in self.model.spaces and self.model.native(space):
            self.docs.build_index(space=space, kind=name)

    @rule(size=st.sampled_from([1, 20_000, 2**28]), dead=st.sampled_from([0.0, 0.5]))
    def compact(self, size, dead):
        before = self.docs.version
        report = self.docs.compact(target_bytes=size, dead_share=dead)
        assert report.version == self.docs.version == before + bool(report.files_before)
        if report.files_before:
            self.remember()
        if dead == 0:
            assert sum(pile.dead for pile in self.docs.segments) == 0

    @rule(keep=st.integers(1, 6))
    def expire_and_collect(self, keep):
        """What cannot be read leaves no file behind, and what can be read loses none."""
        report = self.docs.expire(keep_last=keep)
        assert report.first_version >= self.docs.version - keep + 1
        self.store.gc(grace=timedelta(0))
        for version in [v for v in self.history if v < report.first_version]:
            del self.history[version]
            with pytest.raises(NotFoundError, match="expired"):
                self.docs.at(version)
        assert self.store.gc(grace=timedelta(0)).files == 0

    @rule(data=st.data(), seed=seeds)
    def travel(self, data, seed):
        version = data.draw(st.sampled_from(sorted(self.history)))
        reader, model = self.docs.at(version), self.history[version]
        assert reader.version == version
        check_items(reader, model)
        self.search_all(reader, model, seed, k=4)

    @rule(seed=seeds, k=st.integers(1, 20))
    def search(self, seed, k):
        self.search_all(self.docs, self.model, seed, k)

    @invariant()
    def equals_the_model(self):
        check_items(self.docs, self.model)
        versions = self.docs.versions()
        assert [v.version for v in versions] == list(range(self.docs.version + 1))
        readable = [v.version for v in versions if not v.expired]
        assert sorted(self.history) == readable
        # What a commit makes of the version before is what others read.
        known = self.docs._latest.refresh().snapshot.state
        assert known == self.docs._catalog.state(self.docs._record.id)

    def search_all(self, reader, model, seed, k):
        for name, space in model.spaces.items():
            queries = draw_vectors(seed, 1 + 9 * (seed % 3 == 0), space.dim)
            check_search(reader, model, queries[0], space=name, k=k)
            check_search(reader, model, queries, space=name, k=k)
            for column, (where, keep) in FILTERS.items():
                if column in model.columns:
                    chosen = sum(keep(self.row(i.metadata)) for i in model.items.values())
                    assert reader.count(where) == chosen
                    check_search(
                        reader,
                        model,
                        queries,
                        space=name,
                        k=k,
                        where=where,
                        keep=lambda item, keep=keep: keep(self.row(item.metadata)),
                    )

    @staticmethod
    def row(metadata: dict[str, Any]) -> dict[str, Any]:
        return dict.fromkeys(METADATA) | metadata


QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def test_any_history_equals_the_model():
    state = settings(max_examples=15, stateful_step_count=20, **QUIET)
    run(CollectionMachine, state)


def test_any_history_equals_the_model_under_postgresql(new_database):
    class PostgresMachine(CollectionMachine):
        def new_catalog(self) -> str:
            return new_database()

    run(PostgresMachine, settings(max_examples=4, stateful_step_count=15, **QUIET))


@pytest.mark.slow
def test_many_long_histories_equal_the_model():
    run(CollectionMachine, settings(max_examples=150, stateful_step_count=60, **QUIET))


def run(machine, profile) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(machine, settings=profile)
