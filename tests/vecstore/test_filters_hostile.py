"""Hostile filters: each is refused, stopped or harmless; nothing is read, written or leaked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecstore.errors import InvalidFilterError
from vecstore.filters import Predicate, engine, parse_where, select_rows
from vecstore.filters.sql import MAX_DEPTH, MAX_SQL_LENGTH

TABLE = pa.table(
    {
        "row_id": [1, 2, 3],
        "id": ["a", "b", "c"],
        "document": ["secret-4711", "plain", None],
        "year": pa.array([1, 2, None], pa.int64()),
        "tags": pa.array([["x"], [], None], pa.list_(pa.string())),
    }
)
SCHEMA = pa.schema([f for f in TABLE.schema if f.name != "row_id"])

REFUSED = {
    "file read": "document = (SELECT content FROM read_text('/etc/passwd'))",
    "file scan": "EXISTS (SELECT 1 FROM '/etc/passwd')",
    "csv": "EXISTS (FROM read_csv('/etc/passwd'))",
    "glob": "EXISTS (FROM glob('/*'))",
    "http": "EXISTS (FROM 'https://example.com/x.parquet')",
    "copy": "1=1; COPY (SELECT 1) TO 'out.csv'",
    "copy in parentheses": "(COPY (SELECT 1) TO 'out.csv')",
    "attach": "1=1; ATTACH 'x.db'",
    "detach": "DETACH memory",
    "pragma": "1=1; PRAGMA database_list",
    "set": "1=1; SET threads = 1",
    "set alone": "SET lock_configuration = false",
    "install": "1=1; INSTALL httpfs",
    "load": "LOAD httpfs",
    "drop": "1=1; DROP VIEW rows; --",
    "create": "CREATE TABLE x AS SELECT 1",
    "insert": "INSERT INTO rows VALUES (1)",
    "export": "EXPORT DATABASE 'x'",
    "call": "CALL pragma_version()",
    "semicolon": "year = 1;",
    "line comment": "year = 1 -- and more",
    "comment as end": "1=1) --",
    "block comment": "year = 1 /* and more */",
    "nested comment": "/*" * 5000 + "1=1",
    "closing parenthesis": "1=1) OR (1=1",
    "closing and limit": "1=1) LIMIT (1",
    "closing and group": "1=1) GROUP BY (year",
    "closing and having": "1=1) HAVING (true",
    "closing and order": "1=1) ORDER BY (year",
    "closing and qualify": "1=1) QUALIFY (true",
    "closing and window": "1=1) WINDOW w AS (ORDER BY year",
    "closing and union": "1=1) UNION (SELECT 1 FROM rows WHERE 1=1",
    "order by": "1=1 ORDER BY year",
    "limit": "1=1 LIMIT 1",
    "union": "1=1 UNION SELECT 1",
    "cte": "WITH x AS (SELECT 1) SELECT 1",
    "subquery": "year = (SELECT max(year) FROM rows)",
    "in subquery": "year IN (SELECT year FROM rows)",
    "exists": "EXISTS (SELECT 1)",
    "any": "year = ANY([1, 2])",
    "all": "year < ALL([1, 2])",
    "recursive": "year IN (WITH RECURSIVE t AS (SELECT 1 UNION ALL FROM t) FROM t)",
    "from first": "FROM rows",
    "python variable": "EXISTS (FROM hostile_table)",
    "python variable as column": "hostile_table = 1",
    "table macro": "query('SELECT 1') = 1",
    "query table": "EXISTS (FROM query_table('rows'))",
    "window": "row_number() OVER () = 1",
    "aggregate": "count(*) > 1",
    "aggregate of column": "max(year) = year",
    "filtered aggregate": "sum(year) FILTER (WHERE true) > 1",
    "ordered call": "lower(document ORDER BY id) = 'x'",
    "distinct call": "lower(DISTINCT document) = 'x'",
    "star": "*",
    "columns": "COLUMNS('.*') = 1",
    "columns lambda": "COLUMNS(c -> c LIKE 'y%') = 1",
    "lambda": "list_filter(tags, t -> t = 'x') = tags",
    "new lambda": "list_filter(tags, lambda t: t = 'x') = tags",
    "comprehension": "[t FOR t IN tags] = tags",
    "unnest": "unnest(tags) = 'x'",
    "parameter": "year = ?",
    "numbered parameter": "year = $1",
    "named parameter": "year = $year",
    "dollar quote": "document = $$x$$",
    "tagged dollar quote": "document = $a$x$a$",
    "escape string": "document = E'\\x00'",
    "blob": "document = x'00'",
    "bits": "document = b'01'",
    "positional": "#1 = 1",
    "default": "year = DEFAULT",
    "collate": "document COLLATE nocase = 'x'",
    "qualified function": "main.lower(document) = 'x'",
    "system function": "system.main.lower(document) = 'x'",
    "method": "document.lower() = 'x'",
    "named argument": "lower(x := document) = 'x'",
    "setting": "current_setting('memory_limit') = 'x'",
    "variable": "getvariable('x') IS NULL",
    "environment": "getenv('HOME') = '/root'",
    "version": "version() = 'x'",
    "user": "current_user = 'duckdb'",
    "database": "current_database() = 'memory'",
    "schema": "current_schemas(true) IS NULL",
    "sequence": "nextval('s') = 1",
    "clock": "now() > '2020-01-01'",
    "clock keyword": "current_timestamp > '2020-01-01'",
    "random": "random() > 0.5",
    "uuid": "uuid() IS NULL",
    "sleep": "sleep_ms(100000) IS NULL",
    "catalog": "pg_typeof(year) = 'x'",
    "catalog table": "EXISTS (FROM duckdb_settings())",
    "error": "error('boom') IS NULL",
    "pointer scan": "EXISTS (FROM arrow_scan(1, 2, 3))",
    "write log": "write_log('x') IS NULL",
    "repeat": "repeat('a', 1000000000) = document",
    "nested repeat": "len(repeat(repeat('a', 10000), 100000)) > 1",
    "list repeat": "len(repeat([1], 1000000000)) > 1",
    "range": "len(range(10000000000)) > 1",
    "series": "len(generate_series(1, 10000000000)) > 1",
    "lpad": "lpad(document, 1000000000, 'x') = 'x'",
    "list resize": "len(list_resize(tags, 1000000000)) > 1",
    "replace": "replace(document, '', 'xxxxxxxx') = 'x'",
    "concat": "document || document = 'x'",
    "format": "format('{:1000000000}', year) = 'x'",
    "printf": "printf('%1000000000d', year) = 'x'",
    "json": "json_serialize_sql('SELECT 1') IS NOT NULL",
    "execute json": "json_execute_serialized_sql('{}') IS NULL",
    "bar": "bar(year, 0, 10, 1000000000) = 'x'",
    "regex program": "regexp_matches(document, '([ab]{30}){30}c')",
    "regex nest": "regexp_matches(document, '((((a{99}){99}){99}){99}){99}')",
    "regex property": "regexp_matches(document, '\\pL{500}')",
    "regex length": f"regexp_matches(document, '{'a' * 2000}')",
    "regex of a column": "regexp_matches(document, id)",
    "regex syntax": "regexp_matches(document, '(')",
    "similar program": "document SIMILAR TO '([ab]{30}){30}c'",
    "tilde program": "document ~ '([ab]{30}){30}c'",
    "like length": f"document LIKE '{'%a' * 2000}'",
    "enum cast": "document::ENUM('a', 'b') = 'a'",
    "json cast": "document::JSON IS NULL",
    "user type": "document::mytype IS NULL",
    "NUL": "year = 1\0",
    "NUL in a string": "document = 'a\0b'",
    "surrogate": "document = '\ud800'",
    "unicode quotes": "document = \u2018x\u2019",
    "fullwidth": "\uff59ear = 1",
    "unterminated string": "document = 'x",
    "unterminated name": '"document = 1',
    "unterminated escape": "document = 'it''s",
    "empty": "",
    "blank": " \n\t",
    "zero-length name": '"" = 1',
    "giant string": "document = '" + "x" * MAX_SQL_LENGTH + "'",
    "giant list": "year IN (" + ",".join(["1"] * MAX_SQL_LENGTH) + ")",
    "giant number": "year = " + "9" * 60_000,
    "deep parentheses": "(" * 20_000 + "1=1" + ")" * 20_000,
    "open parentheses": "(" * 5_000,
    "open brackets": "[" * 5_000,
    "deep not": "NOT " * 10_000 + "true",
    "deep minus": "- " * 10_000 + "year = 1",
    "deep plus": "+".join(["year"] * 10_000) + " = 1",
    "deep is null": "year" + " IS NULL" * 5_000,
    "deep cast": "year" + "::INT" * 9_000 + " = 1",
    "deep case": "CASE WHEN " * 2_000 + "true" + " THEN true END" * 2_000,
    "open case": "CASE WHEN " * 6_000,
    "deep call": "lower(" * 5_000 + "document" + ")" * 5_000 + " = 'x'",
    "deep list": "[" * 5_000 + "1" + "]" * 5_000 + " = tags",
    "deep index": "tags" + "[1]" * 5_000 + " = 'x'",
    "deep path": "year" + ".a" * 20_000 + " = 1",
    "wide nesting": "((id IN (" + ",".join(["'aaaa'"] * 7_000) + "))" + "::VARCHAR = 'x')" * 60,
    "hidden column": "row_id = 1",
    "row id of the engine": "rowid = 1",
    "table as a column": "rows IS NULL",
    "qualified column": "rows.year = 1",
    "catalog column": "memory.main.rows.year = 1",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_a_plain_predicate_is_refused_at_once(name: str) -> None:
    hostile_table = pa.table({"x": [1]})
    started = time.monotonic()
    with pytest.raises(InvalidFilterError) as caught:
        parse_where(REFUSED[name], SCHEMA)
    assert hostile_table.num_rows == 1
    assert len(str(caught.value)) < 1_000
    assert time.monotonic() - started < 20, "refused by a bound, not by running"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("document = '1=1) OR (1=1'", []),
        ("document <> '; DROP TABLE rows; -- /* $1 ? '", [1, 2]),
        ("document <> 'it''s'", [1, 2]),
        ("document <> '\u2018\u201c\u00a0\u202e'", [1, 2]),
        ("year\u00a0=\u20031", [1]),
        ("year = 1\n", [1]),
        ("(((year = 1)))", [1]),
        ("year < 1e99999999", [1, 2]),
        ("document LIKE '" + "%_" * 400 + "x'", []),
        ("regexp_matches(document, '^(([a-z])+.)+[A-Z]([a-z])+$')", []),
        (" OR ".join(f"year = {i}" for i in range(4_000)), [1, 2]),
        ("(" * (MAX_DEPTH - 2) + "year = 1" + ")" * (MAX_DEPTH - 2), [1]),
    ],
)
def test_what_only_looks_hostile_works(where: str, expected: list[int]) -> None:
    assert select_rows(TABLE, parse_where(where, SCHEMA)).tolist() == expected


WORDS = re.findall(
    r"\S+",
    """:: -- /* 'x' 1 year document tags id rows SELECT FROM WHERE AND OR NOT NULL IS IN LIKE
    BETWEEN CASE WHEN THEN END INTEGER lower(""",
)
FRAGMENTS = [*"()[]{}'\";,.-+*/%<>=!?$#@:\\", *WORDS]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(FRAGMENTS),
        max_size=25,
    ).map(" ".join)
    | st.text(max_size=30)
)
def test_any_text_is_a_predicate_or_refused(where: str) -> None:
    said = ""
    try:
        predicate = parse_where(where, SCHEMA)
        found = select_rows(TABLE, predicate)
    except InvalidFilterError as error:
        said = f"{error} {'' if error.__suppress_context__ else error.__context__}"
    else:
        assert set(found.tolist()) <= {1, 2, 3}
        assert parse_where(predicate.sql, SCHEMA) == predicate
    assert "4711" not in said


@pytest.mark.parametrize(
    "where",
    [
        "CAST(document AS INTEGER) = 5",
        "document::DATE > '2020-01-01'",
        "CAST(document AS BOOLEAN)",
        "strptime(document, '%Y') IS NULL",
    ],
)
def test_a_failure_on_a_row_does_not_quote_the_row(where: str) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        select_rows(TABLE, parse_where(where, SCHEMA))
    assert "TRY_CAST" in str(caught.value)
    assert "4711" not in str(caught.value)
    assert caught.value.__suppress_context__, "DuckDB's message, with the value, is not shown"


# --- the engine, beneath the parser -------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "FROM read_text('/etc/passwd')",
        "FROM glob('*')",
        "FROM '/etc/passwd'",
        "COPY (SELECT 1) TO 'out.csv'",
        "ATTACH 'x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 1",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "RESET memory_limit",
        "EXPORT DATABASE 'x'",
        "FROM hostile_table",
    ],
)
def test_the_engine_itself_refuses_what_the_parser_would(
    statement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hostile_table = pa.table({"x": [1]})
    with engine._cursor(5.0) as cursor, pytest.raises(duckdb.Error):
        cursor.execute(statement).fetchall()
    assert hostile_table.num_rows == 1
    assert list(tmp_path.iterdir()) == []


def endless(rows: int = 40) -> tuple[pa.Table, Predicate]:
    """Return a filter that would run for minutes: the parser's bounds are bypassed."""
    table = pa.table({"row_id": np.arange(rows), "document": ["ab" * 40_000] * rows})
    sql = "regexp_matches(document, '([ab]{30}){30}c')"
    return table, Predicate(sql=sql, parameters=(), columns=frozenset({"document"}))


def test_a_filter_is_stopped_at_its_time_limit() -> None:
    table, predicate = endless()
    started = time.monotonic()
    with pytest.raises(InvalidFilterError, match=r"within 0\.2 s and was stopped"):
        select_rows(table, predicate, time_limit_s=0.2)
    unbounded = 40 * 0.4  # seconds of work on one core, measured
    assert time.monotonic() - started < unbounded
    assert select_rows(TABLE, parse_where("year = 1", SCHEMA)).tolist() == [1], "others go on"


def test_a_filter_is_stopped_at_the_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_database", None)
    monkeypatch.setitem(engine._CONFIG, "memory_limit", "20MB")
    sql = "(SELECT count(DISTINCT i) FROM range(5_000_000) AS t(i)) > year"
    greedy = Predicate(sql=sql, parameters=(), columns=frozenset({"year"}))
    with pytest.raises(InvalidFilterError, match="of memory"):
        select_rows(TABLE, greedy)
    assert select_rows(TABLE, parse_where("year = 1", SCHEMA)).tolist() == [1]


def test_threads_filter_their_own_tables() -> None:
    """Tables of one name and different content, filtered at once, never mix."""
    barrier = threading.Barrier(6)

    def work(number: int) -> bool:
        table = pa.table({"row_id": np.arange(3_000), "n": np.arange(3_000) % (number + 2)})
        schema = pa.schema({"n": pa.int64()})
        expected = np.flatnonzero(np.arange(3_000) % (number + 2) == 1)
        barrier.wait()
        for where in ("n = 1", {"n": 1}, {"n": {"$in": [1]}}, f"n = 1 AND {number} = {number}") * 5:
            if not np.array_equal(select_rows(table, parse_where(where, schema)), expected):
                return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))


def test_a_stopped_filter_stops_no_other() -> None:
    table, predicate = endless()

    def stopped() -> str:
        try:
            select_rows(table, predicate, time_limit_s=0.1)
        except InvalidFilterError as error:
            return str(error)
        return "finished"

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(stopped)
        while not slow.done():
            assert select_rows(TABLE, parse_where({"year": 1}, SCHEMA)).tolist() == [1]
        assert "stopped" in slow.result()


def run(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.strip()


SETUP = """
import pyarrow as pa
from vecstore.filters import parse_where, select_rows
moment = pa.array([1_700_000_000], pa.timestamp("s", "UTC"))
table = pa.table({"row_id": [7], "moment": moment})
schema = pa.schema({"moment": moment.type})
def find(where):
    return select_rows(table, parse_where(where, schema)).tolist()
"""


def test_time_zones_do_not_depend_on_the_machine() -> None:
    sql, iso = "moment = '2023-11-14 22:13:20'", {"moment": "2023-11-14T22:13:20"}
    code = SETUP + f"print(find({sql!r}), find({iso!r}))"
    assert run(code, TZ="America/New_York") == "[7] [7]"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_filters_too() -> None:
    code = SETUP + (
        "import os, sys\n"
        "find('TRUE')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if find('TRUE') == [7] else 1)\n"
        "print(os.waitpid(child, 0)[1], find('TRUE'))\n"
    )
    assert run(code) == "0 [7]"
