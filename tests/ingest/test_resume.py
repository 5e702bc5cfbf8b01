"""A job killed anywhere and run again ends as one clean run does.

Real processes, killed with SIGKILL at seeded points that are spread over every Python call of
a run, so before and after every write, sync, rename and SQL statement.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecstore
from vecstore.errors import IngestError
from vecstore_ingest import IngestProgress, ingest

SCRIPT = Path(__file__).with_name("killable_ingest.py")


class KilledError(Exception):
    """Stands for the end of a process, in tests that need no real one."""


def _write_files(folder: Path) -> list[str]:
    """Two files with 300 good rows in three spaces' patterns, and 31 bad ones of many kinds."""
    rng = np.random.default_rng(3)
    lines = []
    for i in range(300):
        vectors = rng.standard_normal((2, 8)).round(3).tolist()
        record = {"id": f"i{i}", "a": vectors[0], "document": f"text {i}", "n": i}
        if i % 3:
            record["b"] = vectors[1]
        lines.append(json.dumps(record))
        if i % 10 == 9:
            bad = ["{", record | {"id": ""}, record, record | {"id": f"z{i}", "a": [1]}, "[]"]
            chosen = bad[i // 10 % 5]
            lines.append(chosen if isinstance(chosen, str) else json.dumps(chosen))
    # A row that only the store refuses: alone in its batch of one type, the column differs.
    lines.append(json.dumps({"id": "last", "n": "text"}))
    paths = [folder / "a.jsonl", folder / "b.jsonl"]
    paths[0].write_text("\n".join(lines[:200]) + "\n")
    paths[1].write_text("\n".join(lines[200:]))
    return [str(path) for path in paths]


def _new_store(path: Path) -> str:
    with vecstore.open(path) as store:
        docs = store.create_collection("docs")
        docs.create_space("a", dim=8, metric="l2")
        docs.create_space("b", dim=8, metric="l2")
    return str(path)


def _run(
    store: str, files: list[str], rejects: Path, batch_rows: int, kill_at: int = 0
) -> dict[str, Any] | None:
    """Run the job in a process; return what it printed, or None if it was killed."""
    options = {
        "store": store,
        "files": files,
        "kill_at": kill_at,
        "ingest": {"batch_rows": batch_rows, "on_error": "skip", "rejects": str(rejects)},
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(options)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _content(store: str) -> dict[str, Any]:
    """Everything a reader can see, by id."""
    with vecstore.open(store) as opened:
        docs = opened.collection("docs")
        rows = [r for b in docs.scan(spaces=["a", "b"]) for r in b.to_pylist()]
    content = {row.pop("id"): row for row in rows}
    assert len(content) == len(rows)
    return content


def _kill_and_resume(tmp_path: Path, *, kills: int, batch_rows: int, seed: int) -> None:
    files = _write_files(tmp_path)
    clean_rejects = tmp_path / "clean.jsonl"
    clean_store = _new_store(tmp_path / "clean.vecstore")
    clean = _run(clean_store, files, clean_rejects, batch_rows)
    assert clean is not None
    assert (clean["report"]["rows_written"], clean["report"]["rows_rejected"]) == (300, 31)
    expected = _content(clean_store)
    rng = np.random.default_rng(seed)
    done = 0
    chain = 0
    while done < kills:
        chain += 1
        store = _new_store(tmp_path / f"{chain}.vecstore")
        rejects = tmp_path / f"{chain}.jsonl"
        result = None
        while result is None:
            kill_at = int(rng.integers(1, clean["calls"]))
            result = _run(store, files, rejects, batch_rows, kill_at)
            done += result is None
        report = result["report"]
        for count in ("rows_read", "rows_written", "rows_rejected", "batches"):
            assert report[count] == clean["report"][count]
        assert _content(store) == expected
        assert rejects.read_bytes() == clean_rejects.read_bytes()


def test_a_job_killed_and_run_again_ends_as_a_clean_run(tmp_path: Path) -> None:
    _kill_and_resume(tmp_path, kills=4, batch_rows=60, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_killed_at_forty_points_ends_as_a_clean_run(tmp_path: Path) -> None:
    _kill_and_resume(tmp_path, kills=40, batch_rows=20, seed=2)


@pytest.fixture
def both(store: vecstore.Store) -> vecstore.Collection:
    docs = store.create_collection("docs")
    docs.create_space("a", dim=8, metric="l2")
    docs.create_space("b", dim=8, metric="l2")
    return docs


def _until(batches: int) -> Any:
    """Make a callback that ends the run after so many batches."""
    told: list[IngestProgress] = []

    def progress(event: IngestProgress) -> None:
        told.append(event)
        if len(told) == batches:
            raise KilledError

    return progress


@pytest.mark.parametrize("batches", [1, 7, 12])
def test_a_resumed_job_goes_on_where_it_was(
    batches: int, both: vecstore.Collection, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "on_error": "skip",
        "rejects": tmp_path / "r.jsonl",
        "batch_rows": 20,
    }
    files = _write_files(tmp_path)
    with pytest.raises(KilledError):
        ingest(both, files, progress=_until(batches), **options)
    version = both.version
    # The rows of a batch are settled when it is committed, whatever the batch size asked for.
    report = ingest(both, files, **options | {"batch_rows": 999})
    assert report.resumed_from >= 20 * batches - 8
    assert (report.rows_written, report.rows_rejected) == (300, 31)
    assert both.version > version
    again = ingest(both, files, **options)
    assert again.resumed_from == 0


def test_resume_false_begins_anew(both: vecstore.Collection, tmp_path: Path) -> None:
    files = _write_files(tmp_path)
    with pytest.raises(KilledError):
        ingest(both, files, progress=_until(3), on_error="skip", batch_rows=20)
    report = ingest(both, files, on_error="skip", resume=False)
    assert (report.resumed_from, report.rows_written) == (0, 300)
    assert len(both) == 300


def test_a_stopped_job_goes_on_with_skip(both: vecstore.Collection, tmp_path: Path) -> None:
    files = _write_files(tmp_path)
    with pytest.raises(IngestError, match=r"row 10 .*10 rows of this job are committed"):
        ingest(both, files, batch_rows=20)
    rejects = tmp_path / "r.jsonl"
    report = ingest(both, files, on_error="skip", rejects=rejects)
    assert (report.resumed_from, report.rows_written, report.rows_rejected) == (10, 300, 31)
    assert len(rejects.read_text().splitlines()) == 31


def test_a_changed_file_is_another_job(both: vecstore.Collection, tmp_path: Path) -> None:
    files = _write_files(tmp_path)
    with pytest.raises(KilledError):
        ingest(both, files, progress=_until(3), on_error="skip", batch_rows=20)
    with Path(files[1]).open("a") as file:
        file.write('\n{"id": "more"}\n')
    report = ingest(both, files, on_error="skip")
    assert (report.resumed_from, report.rows_written) == (0, 301)


def test_another_mapping_or_target_is_another_job(
    store: vecstore.Store, both: vecstore.Collection, tmp_path: Path
) -> None:
    files = _write_files(tmp_path)
    with pytest.raises(KilledError):
        ingest(both, files, progress=_until(3), on_error="skip", batch_rows=20)
    other = store.create_collection("other")
    other.create_space("a", dim=8)
    other.create_space("b", dim=8)
    assert ingest(other, files, on_error="skip").resumed_from == 0
    assert ingest(both, files, on_error="skip", on_existing="skip").resumed_from == 0


def test_a_rejects_file_that_is_not_the_jobs_is_refused(
    both: vecstore.Collection, tmp_path: Path
) -> None:
    files = _write_files(tmp_path)
    rejects = tmp_path / "r.jsonl"
    options: dict[str, Any] = {"on_error": "skip", "batch_rows": 20}
    with pytest.raises(KilledError):
        ingest(both, files, progress=_until(5), rejects=rejects, **options)
    with pytest.raises(IngestError, match="pass it again, or start anew"):
        ingest(both, files, rejects=tmp_path / "other.jsonl", **options)
    rejects.write_text("")
    with pytest.raises(IngestError, match="put the file back"):
        ingest(both, files, rejects=rejects, **options)
    assert ingest(both, files, rejects=rejects, resume=False, **options).rows_rejected == 31
    assert len(rejects.read_text().splitlines()) == 31


def _stdin(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))


def test_standard_input_is_resumed_by_reading_it_again(
    both: vecstore.Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path(_write_files(tmp_path)[0]).read_bytes()
    options: dict[str, Any] = {"format": "jsonl", "on_error": "skip", "batch_rows": 20}
    _stdin(monkeypatch, text)
    with pytest.raises(KilledError):
        ingest(both, "-", progress=_until(3), **options)
    for other in (text.replace(b"text 7", b"text 8"), text[:900], b""):
        _stdin(monkeypatch, other)
        with pytest.raises(IngestError, match="same input as the interrupted run"):
            ingest(both, "-", **options)
    _stdin(monkeypatch, text)
    report = ingest(both, "-", **options)
    assert report.resumed_from > 40
    assert report.rows_read == 200
    assert len(both) == report.rows_written


def test_ids_of_finished_files_are_known_to_a_resumed_job(
    both: vecstore.Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = "".join(f'{{"id": "i{i}"}}\n' for i in range(50)).encode()
    second = tmp_path / "second.jsonl"
    second.write_text("".join(f'{{"id": "i{i}"}}\n' for i in range(40, 70)))
    options: dict[str, Any] = {"format": "jsonl", "on_error": "skip", "batch_rows": 10}
    _stdin(monkeypatch, first)
    with pytest.raises(KilledError):
        ingest(both, ["-", second], progress=_until(7), **options)
    _stdin(monkeypatch, first)
    report = ingest(both, ["-", second], **options)
    assert report.resumed_from == 70
    assert (report.rows_written, report.rows_rejected) == (70, 10)


@pytest.mark.parametrize("batches", [1, 2, 4])
def test_every_format_is_resumed(
    batches: int, source: Any, rows: Any, docs: vecstore.Collection
) -> None:
    with pytest.raises(KilledError):
        ingest(docs, source, batch_rows=10, progress=_until(batches))
    written = len(docs)
    report = ingest(docs, source)
    assert report.resumed_from == written > 0
    assert report.rows_written == 57
    items = docs.get(rows.ids, spaces=["v1"])
    np.testing.assert_array_equal(np.stack([i.vectors["v1"] for i in items]), rows.vectors)
