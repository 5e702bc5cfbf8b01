"""A backfill embeds what lacks a vector, in the order of its priority, once, and goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import vecstore
from tests.vecstore.backfill_process import BARE, COVERED, DIM, N, TextEncoder, filled
from vecstore.errors import (
    EncoderError,
    InvalidArgumentError,
    NotFoundError,
    SpaceMismatchError,
    UnsupportedOperationError,
)

PROCESS = Path(__file__).with_name("backfill_process.py")


def state_of(docs):
    """Return the native vectors of v2 by id."""
    ids = [name for batch in docs.scan() for name in batch["id"].to_pylist()]
    rows = docs.get(ids, spaces=["v2"])
    return {item.id: item.vectors["v2"].tolist() for item in rows if "v2" in item.vectors}


def test_documents_that_lack_a_vector_are_embedded_and_nothing_else(place):
    with place.open() as store:
        docs, ids, new = filled(store)
        encoder, told = TextEncoder(), []
        report = docs.backfill(to="v2", encoder=encoder, batch=7, progress=told.append)
        wanted = [f"text {i}" for i in range(COVERED, N) if i not in BARE]
        assert sorted(encoder.asked) == sorted(wanted)
        assert report.embedded == len(wanted)
        assert report.without_document == len(BARE)
        assert (report.missing, report.finished) == (len(BARE), True)
        assert report.coverage == docs.spaces["v2"].coverage
        assert [state.done for state in told] == [*range(7, 48, 7), 48][: len(told)]
        assert told[-1].done == told[-1].total == len(wanted)
        assert told[-1].eta_seconds == pytest.approx(0)
        stored = state_of(docs)
        unit = new / np.linalg.norm(new, axis=1, keepdims=True)
        for number in range(COVERED, N):
            if number not in BARE:
                np.testing.assert_allclose(stored[ids[number]], unit[number], atol=1e-6)
        # Nothing is left to do, and nothing of the job is left.
        assert docs.backfill(to="v2", encoder=TextEncoder()).embedded == 0


def order_of(docs, **how):
    encoder = TextEncoder()
    docs.backfill(to="v2", encoder=encoder, batch=1, **how)
    return [int(text.split()[1]) for text in encoder.asked]


def test_oldest_first_and_random_by_seed(store):
    docs, *_ = filled(store)
    assert order_of(docs, priority="oldest", budget=4) == [40, 41, 42, 43]
    first = order_of(docs, priority="random", budget=8, seed=1)
    assert first != sorted(first)
    with vecstore.open(store._root.folder.parent / "again") as again:
        other, *_ = filled(again)
        order_of(other, priority="oldest", budget=4)
        assert order_of(other, priority="random", budget=8, seed=1) == first


def test_demand_first_the_highest_ranks(store):
    docs, ids, new = filled(store)
    docs.fit_translator(source="v1", target="v2", family="ridge")
    for number in (70, 70, 55):
        docs.search(new[number], space="v2", k=1, where=f"id = '{ids[number]}'")
    docs.search(new[80], space="v2", k=1, where="id IN ('080')")
    assert order_of(docs, priority="demand", budget=3)[0] == 70
    assert docs.spaces["v2"].native == COVERED + 3


def test_uncertainty_first_what_no_search_reaches_then_what_is_translated_worst(store):
    docs, _ids, _new = filled(store)
    docs.fit_translator(source="v1", target="v2", family="ridge")
    docs.upsert(ids=["alone"], documents=["text 500"])
    order = order_of(docs, priority="uncertainty")
    assert order[0] == 500
    rows = [number for number in order[1:] if number < N]
    from vecstore.upgrade.doubt import translation_spread

    snapshot = docs.at(docs.version - len(order)).snapshot
    spread = translation_spread(
        snapshot, "v2", np.array(rows), translators=docs._latest.translators, seed=0
    )
    assert np.all(np.diff(spread) <= 1e-12)
    assert spread[0] > 1.2 * spread[-1]


def test_the_product_of_both_asks_for_both(store):
    docs, ids, new = filled(store)
    docs.fit_translator(source="v1", target="v2", family="ridge")
    asked = [45, 58, 77, 83]
    for number in asked:
        docs.search(new[number], space="v2", k=1, where=f"id = '{ids[number]}'")
    order = order_of(docs, priority="demand*uncertainty", budget=6)
    assert sorted(order[:4]) == asked


@pytest.mark.parametrize("priority", ["uncertainty", "demand*uncertainty"])
def test_uncertainty_is_refused_under_l2(store, priority):
    docs, *_ = filled(store, metric="l2")
    docs.fit_translator(source="v1", target="v2", family="ridge")
    with pytest.raises(UnsupportedOperationError, match="l2"):
        docs.backfill(to="v2", encoder=TextEncoder(), priority=priority)
    assert docs.backfill(to="v2", encoder=TextEncoder(), priority="demand").finished


def test_a_job_that_is_stopped_goes_on_within_its_budget(place):
    with place.open() as store:
        docs, *_ = filled(store)
        told = []
        how = {"to": "v2", "budget": 30, "batch": 4, "priority": "random"}
        report = docs.backfill(
            **how, encoder=TextEncoder(), progress=told.append, stop=lambda: len(told) == 3
        )
        assert (report.embedded, report.finished) == (12, False)
    with place.open() as store:
        docs = store.collection("docs")
        encoder = TextEncoder()
        report = docs.backfill(**how, encoder=encoder)
        assert (report.embedded, report.resumed_from, len(encoder.asked)) == (30, 12, 18)
        assert report.finished
        assert docs.spaces["v2"].native == COVERED + 30
        # The job has ended: the same call is a new one. And one may begin anew.
        assert docs.backfill(**how, encoder=TextEncoder(), stop=lambda: True).embedded == 0


def test_an_interrupted_job_can_be_begun_anew(store):
    docs, *_ = filled(store)
    told = []
    how = {"to": "v2", "budget": 10, "batch": 4}
    docs.backfill(**how, encoder=TextEncoder(), progress=told.append, stop=lambda: bool(told))
    report = docs.backfill(**how, encoder=TextEncoder(), resume=False)
    assert (report.embedded, report.resumed_from) == (10, 0)
    assert docs.spaces["v2"].native == COVERED + 14


def test_an_encoder_that_fails_costs_nothing_that_is_committed(store):
    docs, *_ = filled(store)

    class Failing(TextEncoder):
        def encode_documents(self, texts):
            if len(self.asked) >= 15:
                raise EncoderError("the endpoint is down")
            return super().encode_documents(texts)

    with pytest.raises(EncoderError, match=r"down.*15 documents of this job.*run it again"):
        docs.backfill(to="v2", encoder=Failing(), batch=5)
    assert docs.spaces["v2"].native == COVERED + 15
    report = docs.backfill(to="v2", encoder=TextEncoder(), batch=5)
    assert (report.resumed_from, report.embedded) == (15, 48)


def test_documents_that_the_encoder_refuses_are_counted_and_left(store):
    docs, *_ = filled(store)

    class Choosy(TextEncoder):
        def encode_documents(self, texts):
            if {"text 44", "text 45", "text 80"} & set(texts):
                raise InvalidArgumentError("too long")
            return super().encode_documents(texts)

    report = docs.backfill(to="v2", encoder=Choosy(), batch=16, priority="oldest")
    assert (report.refused, report.embedded, report.finished) == (3, 45, True)

    class Wrong(TextEncoder):
        def encode_documents(self, texts):
            return np.full((len(texts), DIM), np.nan, np.float32)

    with pytest.raises(vecstore.errors.NonFiniteError):
        docs.backfill(to="v2", encoder=Wrong(), batch=16)


def test_a_pace_is_kept(store):
    docs, *_ = filled(store)
    began = time.monotonic()
    sizes = []
    encoder = TextEncoder()
    docs.backfill(
        to="v2", encoder=encoder, rate=20, budget=24,
        progress=lambda state: sizes.append(state.done),
    )  # fmt: skip
    # The last batch of a second's worth needs no waiting after it.
    assert time.monotonic() - began >= (24 - 20) / 20
    assert sizes == [20, 24]


def test_what_makes_no_job_is_refused(store):
    docs, *_ = filled(store)
    for how in (
        {"budget": -1}, {"budget": 1.5}, {"batch": 0}, {"rate": 0}, {"priority": "newest"},
        {"rate": float("inf")}, {"seed": -1},
    ):  # fmt: skip
        with pytest.raises(InvalidArgumentError, match=f"expected {next(iter(how))}"):
            docs.backfill(to="v2", encoder=TextEncoder(), **how)
    with pytest.raises(NotFoundError):
        docs.backfill(to="v9", encoder=TextEncoder())
    with pytest.raises(UnsupportedOperationError, match="encoder"):
        docs.backfill(to="v2")
    other = TextEncoder()
    other.name = "another"
    with pytest.raises(SpaceMismatchError):
        docs.backfill(to="v2", encoder=other)


def test_items_that_die_or_get_a_vector_meanwhile_are_left_alone(store):
    docs, ids, new = filled(store)

    def meddle(state):
        if state.done == 10:
            docs.delete(ids[52:55])
            docs.add_vectors(ids=ids[55:60], vectors=new[55:60] + 1, space="v2")
            docs.upsert(ids=[ids[60]], documents=["text 60"])

    encoder = TextEncoder()
    docs.backfill(to="v2", encoder=encoder, batch=10, priority="oldest", progress=meddle)
    asked = {int(text.split()[1]) for text in encoder.asked}
    assert not asked & set(range(52, 61))
    assert docs.backfill(to="v2", encoder=(second := TextEncoder())).embedded == 1
    assert second.asked == ["text 60"]


@pytest.mark.parametrize("same", [True, False])
def test_two_backfills_at_once_embed_nothing_twice(place, same):
    with place.open() as store, place.open() as other:
        docs, *_ = filled(store)
        encoders = [TextEncoder(0.02), TextEncoder(0.02)]
        barrier = threading.Barrier(2)

        def work(handle, encoder, priority):
            barrier.wait()
            handle.backfill(to="v2", encoder=encoder, batch=3, priority=priority)

        second = "oldest" if same else "random"
        theirs = other.collection("docs")
        jobs = [
            threading.Thread(target=work, args=(docs, encoders[0], "oldest")),
            threading.Thread(target=work, args=(theirs, encoders[1], second)),
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        asked = [text for encoder in encoders for text in encoder.asked]
        assert len(asked) == len(set(asked)) == N - COVERED - len(BARE)
        assert all(encoder.asked for encoder in encoders)
        assert docs.refresh().spaces["v2"].native == N - len(BARE)


def run_process(place, *, kill_after=None, **how):
    """Run a backfill process; kill it once it has told of so many documents."""
    task = {"url": place.url, "data": str(place.data), "how": how, "seconds": 0.03}
    command = [sys.executable, str(PROCESS), json.dumps(task)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if kill_after is not None and line.strip().isdigit() and int(line) >= kill_after:
                time.sleep(0.01 * (kill_after % 4))
                process.kill()
                break
    return process.returncode, lines


def test_a_killed_backfill_resumes_to_the_result_of_a_clean_run(place, tmp_path):
    how = {"priority": "uncertainty", "budget": 40, "batch": 4, "seed": 3}
    with place.open() as store:
        docs, *_ = filled(store)
        docs.fit_translator(source="v1", target="v2", family="ridge")
    with vecstore.open(tmp_path / "clean") as store:
        docs, *_ = filled(store)
        docs.fit_translator(source="v1", target="v2", family="ridge")
        docs.backfill(to="v2", encoder=TextEncoder(), **how)
        clean = state_of(docs)
    for kill_after in (9, 26):
        code, _ = run_process(place, kill_after=kill_after, **how)
        assert code == -9
    code, lines = run_process(place, **how)
    assert code == 0
    with place.open() as store:
        docs = store.collection("docs")
        assert state_of(docs) == clean
        assert docs.spaces["v2"].native == COVERED + 40
    # The last run embedded only what the killed ones had not committed.
    assert len(json.loads(lines[-1])) <= 40 - 26
