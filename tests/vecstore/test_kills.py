"""Killed at every failpoint and at random, a store keeps what it acknowledged and goes on.

Real processes die by SIGKILL in every action of a store's life. After each, the store opens, holds
exactly a committed version, answers as brute force does, and the action runs to the end of a
clean run. The same after a power cut, which also takes what was not synced.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.vecstore.crash_lab import Lab, moments, stage_of
from tests.vecstore.crash_story import STORY
from vecstore.storage.failpoints import Failpoint

ACTIONS = [pytest.param(number, id=act.name) for number, act in enumerate(STORY)]
RANDOM_KILLS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """In memory where there is such a place: a kill does not ask the disk, and each costs many
    syncs; what a power cut would take is taken away by the laboratory."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path_factory.mktemp("lab")
        return
    with tempfile.TemporaryDirectory(prefix="vecstore-", dir=memory) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def lab(folder):
    lab = Lab(folder / "sqlite")
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def postgres_lab(folder, postgres):
    names = {}

    def clone(url):
        name = f"crash_{len(names)}"
        template = f" TEMPLATE {names[url]}" if url else ""
        postgres.psql(f"CREATE DATABASE {name}{template}")
        new = postgres.get_uri(name)
        names[new] = name
        return new

    lab = Lab(folder / "postgresql", clone)
    yield lab
    lab.close()


def test_the_story_passes_every_failpoint(lab):
    passed = {point for run in lab.clean for point, _ in run.passed}
    assert set(Failpoint) == passed


def test_each_failpoint_kills_and_nothing_is_lost(lab):
    """One action for each point; the slow tests take every point of every action."""
    for point in sorted(Failpoint):
        found = [n for n, run in enumerate(lab.clean) if point in dict(run.passed)]
        for number in found[-1:]:
            assert lab.kill(number, failpoint=f"{point}=kill", power_cut=True).killed


@pytest.mark.slow
@pytest.mark.parametrize("number", ACTIONS)
def test_an_action_killed_anywhere_ends_as_a_clean_run(lab, number):
    count = len(lab.clean[number].passed)
    assert count >= 3
    killed = [
        lab.kill(number, failpoint=f"*@{at}=kill", power_cut=at % 2 == 0).killed
        for at in range(1, count + 1)
    ]
    # A background thread, or a file less, may pass a point less than in the clean run.
    assert sum(killed) >= count - 2
    for after in moments(lab, number, seed=1, count=RANDOM_KILLS):
        lab.kill(number, after=after)


def test_there_are_many_kills(lab):
    assert sum(len(run.passed) + RANDOM_KILLS for run in lab.clean) >= 550


@pytest.mark.slow
@pytest.mark.parametrize("number", ACTIONS)
def test_an_action_on_postgresql_killed_at_its_transactions_ends_as_a_clean_run(
    postgres_lab, number
):
    points = [point for point, _ in postgres_lab.clean[number].passed]
    for at, point in enumerate(points, start=1):
        if point is Failpoint.SQL_COMMIT or point is Failpoint.SQL_COMMITTED:
            assert postgres_lab.kill(number, failpoint=f"*@{at}=kill").killed


def test_the_laboratory_sees_a_missing_sync(lab, monkeypatch):
    """The power cut is not a formality: without its folder's sync, a committed file is lost."""
    number = stage_of("delete")
    points = [point for point, _ in lab.clean[number].passed]
    at = points.index(Failpoint.SQL_COMMITTED) + 1
    lab.kill(number, failpoint=f"*@{at}=kill", power_cut=True)
    from tests.vecstore import crash_lab

    real = crash_lab.cut_power

    def without_sync(run, copy, before):
        kept = tuple(step for step in run.passed if step[0] is not Failpoint.FOLDER_SYNC)
        real(crash_lab.Run(killed=True, acknowledged=0, passed=kept, seconds=0), copy, before)

    monkeypatch.setattr(crash_lab, "cut_power", without_sync)
    with pytest.raises(Exception, match="missing"):
        lab.kill(number, failpoint=f"*@{at}=kill", power_cut=True)
