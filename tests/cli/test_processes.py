"""Real processes: pipes, terminals, signals, shell completion."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

import vecstore

SHOP = "shop.vecstore"


def read_all(terminal: int) -> str:
    """Return what a terminal shows until everyone has left it."""
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    return shown.decode()


def on_a_terminal(
    arguments: list[str], environment: dict[str, str], *, typed: str = ""
) -> tuple[int, str, str]:
    """Run with a terminal for stdin and stderr; return exit code, stdout and what it shows."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["vecstore", *arguments],
        env=environment | {"TERM": "xterm-256color", "COLUMNS": "120"},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        out = process.stdout.read()  # type: ignore[union-attr]
        shown = read_all(ours)
    return process.returncode, out, shown


def test_version_and_help_run(shop: Path, shell: Any) -> None:
    assert shell("vecstore --version").stdout == f"vecstore, version {vecstore.__version__}\n"
    assert shell("vecstore -h").stdout == shell("vecstore --help").stdout


def test_errors_go_to_stderr_without_a_traceback(shop: Path, shell: Any) -> None:
    done = shell(f"vecstore count {SHOP} -c nothing")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1


def test_where_there_is_no_terminal_only_results_are_printed(shop: Path, shell: Any) -> None:
    done = shell(f"vecstore ingest {SHOP} items.parquet --space v1")
    assert done.returncode == 0
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_progress_is_shown_on_a_terminal_and_never_on_stdout(
    shop: Path, environment: dict[str, str]
) -> None:
    line = ["ingest", SHOP, "items.parquet", "--space", "v1", "--batch-rows", "1", "--json"]
    code, out, shown = on_a_terminal(line, environment)
    assert code == 0
    assert json.loads(out)["rows_written"] == 6
    assert "items.parquet" in shown


def test_an_index_that_a_job_ends_with_shows_its_progress(
    shop: Path, environment: dict[str, str]
) -> None:
    np.save("long.npy", np.random.default_rng(0).standard_normal((1000, 2000)).astype(np.float32))
    line = ["ingest", SHOP, "long.npy", "-c", "long", "--ids", "rows", "--space", "v1"]
    code, out, shown = on_a_terminal([*line, "--dim", "2000", "--json"], environment)
    assert code == 0
    [made] = json.loads(out)["indexes"]
    assert (made["kind"], made["rows"]) == ("hnsw", 1000)
    assert made["report"]["recall"]["mean"] >= 0.9
    assert "index of v1" in shown


def test_plain_output_is_cut_and_counted_by_other_programs(shop: Path, shell: Any) -> None:
    line = f"vecstore search {SHOP} --space v1 --like p5 -k 4 | cut -f 2,3 | head -n 1"
    assert shell(line).stdout == "1\tp5\n"
    assert shell(f"vecstore collection list {SHOP} | wc -l").stdout.strip() == "1"


def test_a_reader_that_goes_away_ends_the_command_quietly(shop: Path, shell: Any) -> None:
    vectors = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
    np.save("many.npy", vectors)
    for line in (
        f"vecstore search {SHOP} --space v1 --vector-file many.npy -k 80",
        f"vecstore search {SHOP} --space v1 --vector-file many.npy --json",
    ):
        done = shell(f'{line} | head -c 10; echo " ${{PIPESTATUS[0]}}"')
        assert done.stdout.endswith(" 141\n")
        assert done.stderr == ""


def test_a_terminal_gets_a_table_and_others_get_tabs(
    shop: Path, environment: dict[str, str], shell: Any
) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["vecstore", "space", "list", SHOP],
        env=environment | {"TERM": "xterm-256color", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(theirs)
        shown = read_all(ours)
        assert process.stderr.read() == b""  # type: ignore[union-attr]
    assert process.returncode == 0
    assert "coverage" in shown
    assert "\t" not in shown
    plain = shell(f"vecstore space list {SHOP}").stdout
    assert plain.splitlines()[0].split("\t") == [
        "v1", "1", "3", "cosine", "old-model", "80", "1",
    ]  # fmt: skip


def test_stored_text_cannot_drive_the_terminal(shop: Path, run: Any) -> None:
    evil = "red\x1b[31m\x07 [bold]markup[/bold]\ttab\nline\u2028end\x9b0m"
    with vecstore.open(SHOP) as store:
        store.collection("products").upsert(
            ids=["evil"], vectors=[[0, 0, 1]], space="v1", documents=[evil]
        )
    printed = run("get", SHOP, "evil").stdout
    assert printed == 'evil\tred [31m  [bold]markup[/bold] tab line end 0m\t{"price": null}\n'
    assert json.loads(run("get", SHOP, "evil", "--json").stdout)[0]["document"] == evil


def test_a_person_is_asked_and_may_decline(shop: Path, environment: dict[str, str]) -> None:
    line = ["delete", SHOP, "--where", "price < 5"]
    code, out, shown = on_a_terminal(line, environment, typed="n\n")
    assert (code, out) == (1, "")
    assert "Delete 5 items" in shown
    assert "Nothing was changed" in shown
    code, out, shown = on_a_terminal(line, environment, typed="y\n")
    assert code == 0
    assert out.startswith("deleted 5 items")


def test_an_interrupted_job_keeps_what_it_committed_and_goes_on(
    shop: Path, environment: dict[str, str], shell: Any, heeds_interrupts: None
) -> None:
    # Standard input is read by the mebibyte, so the rows are long enough to fill some.
    rows = [
        json.dumps({"id": f"s{n}", "vector": [1.0, n, 0.0], "text": "x" * 50_000}) + "\n"
        for n in range(60)
    ]
    line = ["vecstore", "ingest", SHOP, "-", "--format", "jsonl", "--space", "v1",
            "--batch-rows", "10"]  # fmt: skip
    with (
        vecstore.open(SHOP) as store,
        subprocess.Popen(
            line, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        ) as process,
    ):  # fmt: skip
        process.stdin.write("".join(rows[:35]))  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        products = store.collection("products")
        deadline = time.monotonic() + 60
        while products.refresh().count() == 80 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)  # its input is still open, so that it has no other end to reach
        _, said = process.communicate(timeout=60)
        committed = products.refresh().count() - 80
    assert process.returncode == 130
    assert "Interrupted" in said
    assert "Traceback" not in said
    assert committed in (10, 20, 30)

    Path("rows.jsonl").write_text("".join(rows))
    done = shell(f"cat rows.jsonl | {' '.join(line)} --json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["resumed_from"], report["rows_written"]) == (committed, 60)
    assert shell(f"vecstore count {SHOP}").stdout == "140\n"


def test_the_shell_completes_commands_and_choices(shop: Path, shell: Any) -> None:
    script = shell("vecstore", _VECSTORE_COMPLETE="bash_source").stdout
    assert "complete -o nosort -F _vecstore_completion vecstore" in script

    def completed(words: str, at: int) -> list[str]:
        variables = {"COMP_WORDS": words, "COMP_CWORD": str(at)}
        done = shell("vecstore", _VECSTORE_COMPLETE="bash_complete", **variables)
        return [line.split(",", 1)[1] for line in done.stdout.splitlines()]

    assert completed("vecstore tr", 1) == ["translator"]
    assert completed("vecstore translator ", 2) == ["drop", "fit", "list"]
    assert completed("vecstore search s --execution re", 4) == ["rewrite", "rescore"]
