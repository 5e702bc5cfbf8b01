"""The documentation is run: a reader who copies an example gets what the page shows.

In every Markdown page, blocks tagged ``python`` are executed in order and share their names, and
every ``$`` line of a ``console`` block goes through a real shell in which ``vecstore`` is the
command of this environment. Lines under a command are the output it must print (``...`` stands for
anything). A page runs in one empty folder that holds ``data``, as the root of a checkout does.
Blocks tagged ``bash`` are instructions for a machine and are not run, so no ``vecstore`` command
may hide in one.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Document, Example, Region
from sybil.example import SybilFailure
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "data" / "demo" / "README.md"],
)
FENCE = re.compile(r"^```(?P<tag>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
TAGS = {"python", "console", "bash", "text", "json", "toml", "sql", "mermaid"}


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def run_console(example: Example) -> str | None:
    """Run every command of a console block; return what differed, as sybil expects."""
    commands = re.split(r"^\$ ", str(example.parsed), flags=re.MULTILINE)
    assert commands[0].strip() == "", "a console block starts with a `$ ` line"
    for command in commands[1:]:
        first, *rest = command.splitlines()
        while first.endswith("\\"):
            first = first[:-1] + rest.pop(0)
        expected = "\n".join(rest).strip()
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", first],
            env=os.environ
            | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
            | {"COLUMNS": "100", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            return f"$ {first}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"
        if expected and not output_matches(expected, done.stdout):
            return f"$ {first}\nexpected:\n{expected}\n\nprinted:\n{done.stdout}"
    return None


def output_matches(expected: str, printed: str) -> bool:
    """Compare as doctest does: runs of blanks are one blank, ``...`` is anything."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected, printed, flags)


def parse(page: Path) -> Document:
    return Document.parse(
        str(page),
        PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE),
        CodeBlockParser("console", run_console),
    )


def runnable(page: Path) -> list[Region]:
    return [example.region for example in parse(page).examples()]


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=page_id)
def test_every_example_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    for example in parse(page).examples():
        example.evaluate()


def test_the_readme_shows_something_that_runs() -> None:
    assert runnable(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_fenced_block_says_what_it_is(page: Path) -> None:
    text = page.read_text("utf-8")
    tags = {match["tag"] for match in FENCE.finditer(text)}
    assert tags <= TAGS, f"expected a tag among {sorted(TAGS)}"
    assert text.count("\n```") % 2 == 0, "a fence is left open"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_no_command_of_ours_hides_in_a_block_that_is_not_run(page: Path) -> None:
    hidden = [
        line
        for match in FENCE.finditer(page.read_text("utf-8"))
        if match["tag"] == "bash"
        for line in match["body"].splitlines()
        if re.match(r"(\$ )?vecstore ", line)
    ]
    assert hidden == [], "tag the block `console`, so that it is run"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    prose = FENCE.sub("", page.read_text("utf-8"))
    missing = [
        target
        for target in LINK.findall(prose)
        if "://" not in target and not leads_somewhere(page, *target.partition("#")[::2])
    ]
    assert missing == []


def leads_somewhere(page: Path, path: str, anchor: str) -> bool:
    """Say whether a relative link names an existing file and, in Markdown, a heading of it."""
    target = page.parent / path if path else page
    if not target.exists():
        return False
    if not anchor or target.suffix != ".md":
        return not anchor
    prose = FENCE.sub("", target.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in headings}
    return anchor in slugs


def test_every_page_can_be_reached_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {
        (index.parent / target.partition("#")[0]).resolve()
        for target in LINK.findall(index.read_text("utf-8"))
    }
    pages = {page.resolve() for page in ROOT.glob("docs/**/*.md")} - {index.resolve()}
    lost = sorted(page_id(page) for page in pages - linked)
    assert lost == [], "link them from docs/index.md"


def test_design_notes_have_numbers_of_their_own() -> None:
    notes = sorted(note.name for note in (ROOT / "docs" / "design").glob("*.md"))
    assert all(re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", note) for note in notes), notes
    numbers = [note[:4] for note in notes]
    assert len(set(numbers)) == len(numbers), notes


# The checks check: each must see the fault that it is there for.


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ("```python\nassert 1 == 2\n```\n", AssertionError),
        ("```python\n>>> 1 + 1\n3\n```\n", SybilFailure),
        ("```console\n$ exit 3\n```\n", SybilFailure),
        ("```console\n$ echo one\ntwo\n```\n", SybilFailure),
    ],
    ids=["python", "doctest", "exit-code", "output"],
)
def test_a_wrong_example_fails(block: str, fault: type[Exception], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(block, "utf-8")
    (example,) = parse(page).examples()
    with pytest.raises(fault):
        example.evaluate()


def test_a_console_block_runs_pipes_and_continued_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ printf 'a\\nb\\n' \\\n  | wc -l\n2\n$ echo x y z\nx ... z\n```\n"
    )
    for example in parse(page).examples():
        example.evaluate()
