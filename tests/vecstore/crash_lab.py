"""The laboratory of the crash tests: stores at every stage of the story, and a way to kill them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

import vecstore
from tests.vecstore.crash_story import DIM, STORY, models, starts, vectors_of, write_rows
from vecstore.errors import NotFoundError
from vecstore.storage.failpoints import Failpoint
from vecstore.testing.stores import CollectionModel, check_items, check_search

HERE = Path(__file__).parent
QUERIES = {space: vectors_of(["q", "r", "s"], space, 7) for space in ("v1", "v2")}


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A store at a stage of its life, in a folder of its own with the files around it."""

    folder: Path
    url: str | None = None

    @property
    def place(self) -> str:
        return self.url or str(self.folder / "store")

    @property
    def data(self) -> Path:
        return self.folder / "store"

    def open(self) -> vecstore.Store:
        options = {"refresh_interval": 0.0} if self.url else {}
        return vecstore.open(self.place, data=self.data, **options)


@dataclass(frozen=True, kw_only=True)
class Run:
    """How a worker ended: versions it acknowledged, and the points that it passed.

    ``open`` are the places among them of steps that may not have happened.
    """

    killed: bool
    acknowledged: int
    passed: tuple[tuple[Failpoint, str], ...]
    seconds: float
    open: frozenset[int] = frozenset()


class Lab:
    """Copies of a store before each action of the story; a server that forks workers.

    Parameters
    ----------
    folder : Path
    clone : callable, optional
        Makes a copy of a database and returns its URL, or a new one of None: for a catalog
        that is not a file in the folder.
    """

    def __init__(self, folder: Path, clone: Callable[[str | None], str] | None = None) -> None:
        self.folder, self._clone = folder, clone
        self.states, self.starts = models(), starts()
        self.kills = self._copies = 0
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self._server = subprocess.Popen(
            [sys.executable, "-W", "error", str(HERE / "crash_worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._hear() == {"ready": True}
        self.stages: list[Copy] = []
        self.clean: list[Run] = []
        first = Copy(folder=folder / "stage", url=clone(None) if clone else None)
        first.data.mkdir(parents=True)
        write_rows(first.folder / "rows.jsonl")
        stage = first
        for number in range(len(STORY)):
            self.stages.append(stage)
            stage = self.copy(stage)
            self.clean.append(self.play(stage, number))
            assert not self.clean[-1].killed
        self.stages.append(stage)

    def close(self) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        assert self._server.wait(timeout=60) == 0
        self._server.stdout.close()

    def copy(self, stage: Copy) -> Copy:
        """Return a copy of a stage that can be played with."""
        self._copies += 1
        folder = self.folder / f"copy{self._copies}"
        shutil.copytree(stage.folder, folder)
        return Copy(folder=folder, url=self._clone(stage.url) if self._clone else None)

    def discard(self, copy: Copy) -> None:
        shutil.rmtree(copy.folder)

    def play(
        self, copy: Copy, number: int, *, failpoint: str = "", after: float | None = None
    ) -> Run:
        """Play an action in a worker, which a failpoint kills, or we do after some seconds."""
        trace = copy.folder / "trace"
        trace.unlink(missing_ok=True)
        request = {
            "place": copy.place,
            "data": str(copy.data),
            "folder": str(copy.folder),
            "first": number,
            "last": number,
            "failpoint": failpoint,
            "trace": str(trace),
            "options": {"refresh_interval": 0.0} if copy.url else {},
        }
        assert self._server.stdin is not None
        print(json.dumps(request), file=self._server.stdin, flush=True)
        acknowledged, began = self.starts[number], time.perf_counter()
        while "ended" not in (said := self._hear()):
            acknowledged = said.get("acknowledged", acknowledged)
            if "started" in said and after is not None:
                time.sleep(after)
                with suppress(ProcessLookupError):
                    os.kill(said["started"], signal.SIGKILL)
                after = None
        assert said["killed"] or said["ended"] == 0, "the worker failed by itself"
        self.kills += said["killed"]
        lines = [line.split("\t") for line in trace.read_text().splitlines()]
        return Run(
            killed=said["killed"],
            acknowledged=acknowledged,
            passed=tuple((Failpoint(point), what) for _, point, what in lines),
            seconds=time.perf_counter() - began,
            open=open_steps([(thread, point) for thread, point, _ in lines]),
        )

    def _hear(self) -> dict[str, Any]:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, "the server of workers is gone"
        said: dict[str, Any] = json.loads(line)
        return said

    def kill(
        self,
        number: int,
        *,
        failpoint: str = "",
        after: float | None = None,
        power_cut: bool = False,
    ) -> Run:
        """Kill an action on a copy, hold what is left against the model, and run it to its end."""
        copy = self.copy(self.stages[number])
        run = self.play(copy, number, failpoint=failpoint, after=after)
        if power_cut:
            cut_power(run, copy, self.stages[number])
        version = self.check(copy, number)
        # The kill may fall between the commit and its acknowledgement, so one more is fine.
        assert run.acknowledged <= version <= run.acknowledged + 1
        again = self.play(copy, number)
        assert not again.killed
        self.check(copy, number, done=True)
        self.discard(copy)
        return run

    def check(self, copy: Copy, number: int, *, done: bool = False) -> int:
        """Hold a store in or after an action against the model; return its version."""
        with copy.open() as store:
            try:
                docs = store.collection("docs")
            except NotFoundError:
                assert number <= 1
                assert not done or number == 0
                return 0
            first, last = self.starts[number], self.starts[number + 1]
            version = docs.version
            assert version == last if done else first <= version <= last
            # What expired cannot be read; killed or not, that is an action of its own.
            oldest = version if number >= stage_of("expire") else max(first, version - 1)
            for seen in range(oldest, version + 1):
                check_items(docs.at(seen), self.states[seen])
            model = self.states[version]
            for space in model.spaces:
                if docs.translators and space == "v2":
                    check_translated(docs, model)
                elif model.native(space):
                    check_search(docs, model, QUERIES[space], space=space, k=7)
            written = version >= self.starts[stage_of("upsert") + 1]
            assert docs.checkpoint("story") == ({"rows": 40} if written else None)
            if done:
                report = store.doctor(grace=timedelta(0))
                left = {f.check for f in report.findings if f.severity != "notice"}
                # Words that were committed and not sealed are made anew by the next search.
                assert left <= {"words"}, report.findings
            if done and number == stage_of("build an index"):
                assert docs.explain(space="v1").indexes
        if done and STORY[number].name == "ingest":
            clean = self.stages[number + 1].folder / "rejects.jsonl"
            here = (copy.folder / "rejects.jsonl").read_text()
            assert here.replace(str(copy.folder), "") == clean.read_text().replace(
                str(clean.parent), ""
            )
        return version


def stage_of(name: str) -> int:
    """Return the number of an action."""
    return next(number for number, act in enumerate(STORY) if act.name == name)


def check_translated(docs: vecstore.Collection, model: CollectionModel) -> None:
    """Hold a search of native and translated vectors against brute force over both."""
    space = model.spaces["v2"]
    live = list(model.items.values())
    translators = {t.source: docs._latest.translators.open(t) for t in docs.translators}
    vectors = np.empty((len(live), DIM["v2"]))
    offsets = np.zeros(len(live))
    forward = [s for s in docs.explain(space="v2").sources if s.route]
    for number, item in enumerate(live):
        if "v2" in item.vectors:
            vectors[number] = item.vectors["v2"]
        else:
            old = item.vectors["v1"].astype(np.float32)[None]
            vectors[number] = translators["v1"].translate(old)[0]
            offsets[number] = forward[0].offset
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = QUERIES["v2"] / np.linalg.norm(QUERIES["v2"], axis=1, keepdims=True)
    place = {item.id: number for number, item in enumerate(live)}
    for hits, truth in zip(
        docs.search(QUERIES[space.name], space="v2", k=len(live)),
        queries @ vectors.T + offsets,
        strict=True,
    ):
        assert sorted(hits.ids) == sorted(place)
        np.testing.assert_allclose(hits.scores, truth[[place[i] for i in hits.ids]], atol=1e-5)


def cut_power(run: Run, copy: Copy, before: Copy) -> None:
    """Undo on disk what a power cut may undo: every step that no sync has made durable yet.

    A kill leaves the page cache; this takes it away, as unkindly as POSIX allows: names that
    were not synced vanish, content that was not is zeros, and what was deleted comes back.
    """
    loose: dict[Path, Failpoint] = {}
    for number, (point, what) in enumerate(run.passed):
        if number in run.open:
            continue
        path = Path(what)
        if point is Failpoint.FOLDER_SYNC:
            loose = {p: kind for p, kind in loose.items() if p.parent != path}
        elif point in (Failpoint.FOLDER_MAKE, Failpoint.FILE_RENAME, Failpoint.FILE_REMOVE):
            loose[final_name(path) if point is Failpoint.FILE_RENAME else path] = point
        elif point is Failpoint.FILE_WRITE:
            for part in path.parent.glob(f".{path.name}.*.tmp"):
                part.write_bytes(bytes(part.stat().st_size))
    for path, kind in loose.items():
        if kind is Failpoint.FILE_REMOVE:
            source = before.folder / path.relative_to(copy.folder)
            if source.exists() and not path.exists():
                shutil.copy2(source, path)
        elif kind is Failpoint.FOLDER_MAKE:
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def open_steps(reached: list[tuple[str, str]]) -> frozenset[int]:
    """Return the places of steps, given by thread and point, that a kill may have prevented.

    They are the last of each thread, unless a transaction has begun since: it waits for the
    threads that write its files.
    """
    last = {thread: number for number, (thread, _) in enumerate(reached)}
    begun = (n for n, (_, point) in enumerate(reached) if point == Failpoint.SQL_BEGIN)
    waited = max(begun, default=-1)
    return frozenset(number for number in last.values() if number >= waited)


def final_name(temporary: Path) -> Path:
    """Return the name that a temporary file is going to have."""
    return temporary.with_name(temporary.name[1:].rsplit(".", 2)[0])


def moments(lab: Lab, number: int, seed: int, count: int) -> list[float]:
    """Return seeded moments, in seconds, within the time that an action takes."""
    generator = random.Random(seed * 1000 + number)
    return [generator.uniform(0, lab.clean[number].seconds) for _ in range(count)]
