"""The status of an upgrade says what is there, what is pending and what to do next."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vecstore.backfill_process import COVERED, N, TextEncoder, filled


def test_an_upgrade_from_its_beginning_to_its_end(place):
    with place.open() as store:
        docs, _ids, new = filled(store)
        status = docs.upgrade_status(predict=False)
        old, fresh = status.generations
        assert (old.space, old.native, old.coverage) == ("v1", N, 1.0)
        assert (fresh.space, fresh.native, fresh.unserved) == ("v2", COVERED, N - COVERED)
        assert any("set a default" in text for text in status.advice)

        docs.switch_space("v1")
        docs.fit_translator(source="v1", target="v2", family="ridge")
        docs.search(new[70], space="v2", k=1)
        status = docs.upgrade_status(predict=False)
        fresh = status.generations[1]
        assert (fresh.translated, fresh.unserved) == (N - COVERED, 0)
        assert fresh.native + fresh.translated + fresh.unserved == status.items == N
        [route] = fresh.routes
        assert (route.path, route.families, route.items) == (("v1", "v2"), ("ridge",), N - COVERED)
        assert 0 < route.overlap <= 1
        assert 0 <= fresh.demand <= 1
        assert any("newer than the default" in text for text in status.advice)

        docs.switch_space("v2")
        told = []
        docs.backfill(
            to="v2", budget=30, batch=5, encoder=TextEncoder(), progress=told.append,
            stop=lambda: bool(told),
        )  # fmt: skip
        status = docs.upgrade_status(predict=False)
        [job] = status.jobs
        assert (job.to, job.done, job.budget) == ("v2", 5, 30)
        assert any("interrupted after 5" in text for text in status.advice)

        docs.delete(where="document IS NULL")
        docs.backfill(to="v2", encoder=TextEncoder())
        status = docs.upgrade_status(predict=False)
        assert any("refit" in text for text in status.advice)
        assert any("no item needs v1" in text for text in status.advice)
        docs.retire_space("v1")
        status = docs.upgrade_status(predict=False)
        assert [g.retired_version for g in status.generations] == [docs.version, None]
        assert status.generations[1].coverage == 1.0
        assert "retired in version" in str(status)
        assert "default" in str(status)


def test_predicted_quality_is_for_the_items_that_are_translated(store):
    docs, _ids, _new = filled(store, 300)
    docs.fit_translator(source="v1", target="v2", family="ridge")
    status = docs.upgrade_status()
    [route] = status.generations[1].routes
    assert route.predicted is not None
    assert route.predicted.n_documents == route.items
    assert 0 < route.predicted.overlap.low <= route.predicted.overlap.high < 1
    assert "expected" in str(status)
    # Not for spaces that are not where searches go.
    docs.switch_space("v1")
    assert docs.upgrade_status().generations[1].routes[0].predicted is None


def test_an_empty_collection_has_a_status(store):
    docs = store.create_collection("docs")
    status = docs.upgrade_status()
    assert (status.items, status.generations, status.advice) == (0, (), ())
    docs.create_space("v1", dim=3)
    [only] = docs.upgrade_status().generations
    assert only.coverage == 0.0
    assert only.demand is None


def test_demand_that_is_native_counts_by_its_weight(store):
    docs, ids, new = filled(store)
    docs.fit_translator(source="v1", target="v2", family="ridge")
    docs.search(new[3], space="v2", k=1, where=f"id = '{ids[3]}'")
    docs.search(new[70], space="v2", k=1, where=f"id = '{ids[70]}'")
    docs.search(new[70], space="v2", k=1, where=f"id = '{ids[70]}'")
    assert docs.upgrade_status(predict=False).generations[1].demand == pytest.approx(1 / 3)
    assert isinstance(np.float64(1).item(), float)
