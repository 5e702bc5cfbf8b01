"""How a command ends: exit codes, messages, and no result on stdout when there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vecstore import errors
from vecstore.errors import VecstoreError
from vecstore_cli import main as program
from vecstore_cli.errors import EXIT_CODES, exit_code

SHOP = "shop.vecstore"
VECTOR = "[1, 0, 0]"


@pytest.mark.parametrize(
    ("code", "line", "said"),
    [
        (2, ["serach"], "No such command"),
        (2, ["count"], "STORE"),
        (2, ["search", SHOP, "--space", "v1"], "what to search for"),
        (2, ["search", SHOP, "--vector", VECTOR, "--like", "p1"], "what to search for"),
        (2, ["search", SHOP, "--vector", VECTOR, "-k", "many"], "not a valid integer"),
        (2, ["delete", SHOP, "--yes"], "which items"),
        (2, ["delete", SHOP, "p1", "--where", "price < 1", "--yes"], "which items"),
        (2, ["ingest", SHOP, "items.jsonl", "--model", "m"], "--dim"),
        (2, ["ingest", SHOP, "items.jsonl", "--dim", "3"], "--space"),
        (2, ["index", "build", SHOP, "--space", "v1", "--param", "m"], "KEY=VALUE"),
        (3, ["count", "nowhere"], "vecstore init"),
        (3, ["count", SHOP, "-c", "nothing"], "'products'"),
        (3, ["count", SHOP, "--at", "999"], "999"),
        (3, ["get", SHOP, "nobody"], "nobody"),
        (3, ["space", "drop", SHOP, "v9", "--yes"], "v9"),
        (3, ["translator", "drop", SHOP, "abc", "--yes"], "abc"),
        (3, ["collection", "drop", SHOP, "nothing", "--yes"], "nothing"),
        (4, ["search", SHOP, "--space", "v1", "--vector", "[1, 0]"], "3 dimensions"),
        (4, ["search", SHOP, "--space", "v1", "--vector", "[1, 0, NaN]"], "NaN"),
        (4, ["search", SHOP, "--space", "v1", "--vector", "[0, 0, 0]"], "zero vector"),
        (4, ["search", SHOP, "--space", "v1", "--vector", '["a", "b", "c"]'], "real numbers"),
        (4, ["search", SHOP, "--space", "v1", "--vector", "1, 0, 0"], "JSON"),
        (4, ["search", SHOP, "--space", "v1", "--vector", "5"], "array of numbers"),
        (4, ["search", SHOP, "--space", "v1", "--vector-file", "none.npy"], "no such file"),
        (4, ["search", SHOP, "--space", "v1", "--vector-file", "none.jsonl"], "no such file"),
        (4, ["search", SHOP, "--space", "v1", "--vector-file", "items.parquet"], ".npy or .jsonl"),
        (4, ["search", SHOP, "--space", "v1", "--vector", VECTOR, "-k", "0"], "k"),
        (4, ["count", SHOP, "--where", "price <"], "syntax error"),
        (4, ["count", SHOP, "--where", "{price: 3}"], "JSON object or SQL"),
        (4, ["count", SHOP, "--where", "nothing = 3"], "nothing"),
        (4, ["ingest", SHOP, "none.parquet", "--space", "v1"], "none.parquet"),
        (4, ["space", "create", SHOP, "v3", "--dim", "0"], "dim"),
        (4, ["init", SHOP, "-c", ""], "characters"),
        (5, ["collection", "create", SHOP, "products"], "products"),
        (5, ["space", "create", SHOP, "v1", "--dim", "3"], "v1"),
    ],
)  # fmt: skip
def test_exit_codes_tell_what_is_wrong(
    code: int, line: list[str], said: str, shop: Path, run: Any
) -> None:
    result = run(*line)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert result.stdout == ""


def test_a_route_that_is_missing_is_not_found(shop: Path, run: Any) -> None:
    translator = run("translator", "list", SHOP).stdout.split("\t")[0]
    run("translator", "drop", SHOP, translator, "--yes")
    line = ("search", SHOP, "--space", "v2", "--vector", VECTOR)
    result = run(*line)
    assert result.exit_code == 3
    assert "fit_translator" in result.stderr
    assert run(*line, "--allow-partial").exit_code == 0


def test_a_damaged_file_is_a_storage_error(shop: Path, run: Any) -> None:
    for file in Path(SHOP).glob("data/*/vectors/v1*/*.arrow"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.chmod(0o600)
        file.write_bytes(content)
    result = run("search", SHOP, "--space", "v2", "--like", "p1")
    assert result.exit_code == 6, result.output


def test_every_error_of_the_library_has_a_documented_code() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__]
    codes = {kind.__name__: exit_code(kind("x")) for kind in kinds}
    assert set(codes.values()) <= set(EXIT_CODES)
    plain = {name for name, code in codes.items() if code == 1}
    assert plain == {
        "VecstoreError", "UnsupportedOperationError", "MissingDependencyError",
        "BuildCancelledError",  # raised to whoever cancels, which no command does
    }  # fmt: skip


def test_a_subclass_has_the_code_of_its_nearest_ancestor() -> None:
    class Worse(errors.DimensionMismatchError):
        pass

    assert exit_code(Worse("x")) == 4


def test_a_bug_shows_its_traceback(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("vecstore.open", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        program.main(["count", SHOP])


def test_the_entry_point_returns_the_code_and_prints_one_message(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["count", SHOP]) == 0
    assert capsys.readouterr().out == "80\n"

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise VecstoreError("refused")

    monkeypatch.setattr("vecstore.open", refuse)
    assert program.main(["count", SHOP]) == 1
    assert capsys.readouterr().err == "Error: refused\n"


@pytest.mark.parametrize(
    "line",
    [
        ["delete", SHOP, "p1"],
        ["delete", SHOP, "--where", "price < 5"],
        ["collection", "drop", SHOP, "products"],
        ["space", "drop", SHOP, "v1"],
    ],
)
def test_nothing_is_destroyed_where_nobody_can_be_asked(
    line: list[str], shop: Path, run: Any
) -> None:
    result = run(*line, stdin="y\n")
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    [collection] = json.loads(run("info", SHOP, "--json").stdout)["collections"]
    assert (collection["items"], len(collection["spaces"])) == (80, 2)
