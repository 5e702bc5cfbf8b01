"""Help, reference and JSON shapes say what the commands do."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from vecstore_cli.errors import EXIT_CODES
from vecstore_cli.reference import commands, reference
from vecstore_cli.shapes import SHAPES

ROOT = Path(__file__).parents[2]
COMMANDS = dict(commands())


def examples_of(command: click.Command) -> list[str]:
    """Return the example lines at the end of a command's help."""
    _, sign, lines = (command.epilog or "").partition("Examples:\n")
    return [line.strip() for line in lines.splitlines()] if sign else []


EXAMPLES = [
    line
    for name, command in COMMANDS.items()
    for line in examples_of(command)
    if name != "vecstore demo"  # test_demo.py runs those
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_of_itself(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert any(f"{name} " in f"{line} " for line in examples_of(command))


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_of_the_help_runs(line: str, shop: Path, run: Any, shell: Any) -> None:
    if set(line) & set("|$<>"):
        done = shell(line)
        assert done.returncode == 0, done.stderr
    else:
        program, *arguments = shlex.split(line)
        assert program == "vecstore"
        assert run(*arguments).exit_code == 0


def test_the_reference_is_up_to_date() -> None:
    written = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    assert written == reference(), "run the command that its first lines name"


def test_the_help_names_every_exit_code(run: Any) -> None:
    printed = run("--help").stdout
    assert [
        code for code, meaning in EXIT_CODES.items() if f"{code}  {meaning}" not in printed
    ] == []


def shape_of(value: Any, promised: Any) -> Any:
    """Return the keys of a value as far as they are promised one by one."""
    if isinstance(promised, dict):
        return {key: shape_of(inner, promised.get(key)) for key, inner in value.items()}
    if isinstance(promised, list):
        assert isinstance(value, list)
        shapes = [shape_of(inner, promised[0]) for inner in value]
        assert all(shape == shapes[0] for shape in shapes)
        return shapes[:1] or promised
    return promised


LINES = {
    "init": "init shop.vecstore",
    "info": "info shop.vecstore",
    "versions": "versions shop.vecstore",
    "compact": "compact shop.vecstore",
    "expire": "expire shop.vecstore --keep-last 1 --yes",
    "gc": "gc shop.vecstore --yes",
    "backup": "backup shop.vecstore copy",
    "restore": "restore backups/shop again.vecstore",
    "collection create": "collection create shop.vecstore other",
    "collection list": "collection list shop.vecstore",
    "collection rename": "collection rename shop.vecstore products goods",
    "collection drop": "collection drop shop.vecstore products --yes",
    "space create": "space create shop.vecstore v3 --dim 5",
    "space list": "space list shop.vecstore",
    "space drop": "space drop shop.vecstore v2 --yes",
    "ingest": "ingest shop.vecstore items.parquet --space v1",
    "export": "export shop.vecstore out.parquet",
    "search": "search shop.vecstore --space v2 --vector-file queries.npy",
    "search --explain": "search shop.vecstore --space v2 --explain",
    "get": "get shop.vecstore p1 p2 --space v1",
    "count": "count shop.vecstore",
    "delete": "delete shop.vecstore p1 --yes",
    "translator fit": "translator fit shop.vecstore --source v1 --target v2 --family procrustes",
    "translator list": "translator list shop.vecstore",
    "translator drop": "translator drop shop.vecstore {translator} --yes",
    "index build": "index build shop.vecstore --space v2 --kind flat",
    "index list": "index list shop.vecstore",
    "upgrade assess": "upgrade assess shop.vecstore --source v1 --target v2",
    "doctor": "doctor shop.vecstore",
    "index drop": "index drop shop.vecstore {index} --yes",
    "backfill": "backfill shop.vecstore --to v2 --encoder 'vectors:v2.parquet?model=new-model'",
    "upgrade tune-lexical": "upgrade tune-lexical shop.vecstore --space v2 "
    "--queries asked.jsonl --qrels qrels.txt",
    "upgrade status": "upgrade status shop.vecstore --no-predict",
    "upgrade refit": "upgrade refit shop.vecstore --force",
    "upgrade switch": "upgrade switch shop.vecstore v2",
    "upgrade rollback": "upgrade rollback shop.vecstore",
    "upgrade retire": "upgrade retire shop.vecstore v2 --yes",
}


def test_every_command_has_a_promised_shape() -> None:
    names = {name.removeprefix("vecstore ") for name in COMMANDS} | {"search --explain"}
    assert set(SHAPES) == names
    assert set(LINES) == names - {"demo"}


@pytest.mark.parametrize("name", LINES)
def test_json_has_the_promised_shape(name: str, shop: Path, json_of: Any) -> None:
    line = LINES[name]
    if "{" in line:
        [collection] = json_of("info", "shop.vecstore")["collections"]
        ids = {kind: collection[f"{kind}s" if kind == "translator" else "indexes"][0]["id"]
               for kind in ("translator", "index")}  # fmt: skip
        line = line.format(**ids)
    assert shape_of(json_of(*shlex.split(line)), SHAPES[name]) == SHAPES[name]


def test_json_is_one_line_of_utf8(shop: Path, run: Any) -> None:
    run("collection", "create", "shop.vecstore", "Bücher 📚")
    printed = run("collection", "list", "shop.vecstore", "--json").stdout
    assert printed.count("\n") == 1
    assert "Bücher 📚" in printed
    assert {row["name"] for row in json.loads(printed)} == {"Bücher 📚", "products"}
