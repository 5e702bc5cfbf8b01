"""SQL filters: three-valued logic against a plain-Python oracle, types, names, functions."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecstore.errors import InvalidArgumentError, InvalidFilterError
from vecstore.filters import Predicate, parse_where, select_rows
from vecstore.filters import functions as allowed
from vecstore.filters.engine import bound_types
from vecstore.filters.patterns import regex_cost
from vecstore.filters.sql import MAX_SQL_LENGTH

TABLE = pa.table(
    {
        "row_id": pa.array([1, 2, 3, 5, 8], pa.int64()),
        "id": ["a", "b", "c", "d", "e"],
        "document": ["red apple", None, "Green pear", "50% off", "naïve 雪"],
        "year": pa.array([2019, 2020, None, 2022, -3], pa.int64()),
        "price": pa.array([1.5, None, 20.0, 0.1, float("inf")], pa.float64()),
        "sold": pa.array([True, False, None, True, None]),
        "when": pa.array(
            [dt.datetime(2024, 5, 31, 12), None, dt.datetime(2020, 1, 1), None, None],
            pa.timestamp("us"),
        ),
        "day": pa.array([dt.date(2024, 5, 31), None, dt.date(2020, 1, 1), None, None]),
        "tags": pa.array([["x", "y"], [], None, ["z"], [None]], pa.list_(pa.string())),
        "author": pa.array(
            [{"name": "Ann"}, None, {"name": None}, {"name": "Bo"}, {"name": "Cy"}],
            pa.struct([("name", pa.string())]),
        ),
        "cost": pa.array([Decimal("1.10"), None, None, None, None], pa.decimal128(10, 2)),
    }
)
SCHEMA = pa.schema([f for f in TABLE.schema if f.name != "row_id"])


def rows(where: Any, table: pa.Table = TABLE) -> list[int]:
    schema = pa.schema([f for f in table.schema if f.name != "row_id"])
    return select_rows(table, parse_where(where, schema)).tolist()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("year > 2019", [2, 5]),
        ("YEAR > 2019 -1", [1, 2, 5]),
        ("year <> 2020", [1, 5, 8]),
        ("NOT (year = 2020)", [1, 5, 8]),
        ("year IS NULL", [3]),
        ("year IS NOT DISTINCT FROM NULL", [3]),
        ("year IN (2019, 2022, NULL)", [1, 5]),
        ("year NOT IN (2019)", [2, 5, 8]),
        ("year NOT IN (2019, NULL)", []),
        ("year BETWEEN 2019 AND 2020", [1, 2]),
        ("year = '2020'", [2]),
        ("year = -3 AND -year = 3", [8]),
        ("year / 0 = 1 OR year // 0 = 1", []),
        ("sold", [1, 5]),
        ("NOT sold", [2]),
        ("sold IS NOT TRUE", [2, 3, 8]),
        ("sold = (year > 2000)", [1, 5]),
        ("document LIKE '%apple'", [1]),
        ("document NOT LIKE '%apple'", [3, 5, 8]),
        ("document ILIKE 'GREEN%'", [3]),
        ("document LIKE '50\\% off' OR document LIKE '50%'", [5]),
        ("document LIKE '% _'", [8]),
        ("document = 'naïve 雪'", [8]),
        ("document SIMILAR TO '[a-z]+ [a-z]+'", [1]),
        ("regexp_matches(document, '^[A-Z]')", [3]),
        ("regexp_matches(document, 'APPLE', 'i')", [1]),
        ("lower(document) = 'green pear' OR length(document) = 7", [3, 5, 8]),
        ("position('p' IN document) = 6", [1]),
        ("substring(document FROM 1 FOR 3) = 'red'", [1]),
        ("trim(BOTH 'r' FROM document) = 'ed apple'", [1]),
        ("starts_with(document, '50')", [5]),
        ("\"when\" > '2021-01-01'", [1]),
        ("\"when\" > TIMESTAMP '2024-06-01' - INTERVAL 3 DAY", [1]),
        ('year("when") = 2020', [3]),
        ('extract(month FROM "when") = 5', [1]),
        ("day = DATE '2020-01-01'", [3]),
        ('day = "when"', [3]),
        ("list_contains(tags, 'x')", [1]),
        ("'z' IN tags", [5]),
        ("tags && ['y', 'z']", [1, 5]),
        ("tags[1] = 'x'", [1]),
        ("len(tags) = 0", [2]),
        ("author.name = 'Ann'", [1]),
        ("author['name'] = 'Bo'", [5]),
        ("author IS NULL", [2]),
        ("cost = 1.1", [1]),
        ("price > 1e300", [8]),
        ("CASE WHEN year > 2020 THEN sold ELSE price > 1 END", [1, 3, 5, 8]),
        ("coalesce(year, 0) = 0", [3]),
        ("if(sold, year > 2020, year < 0)", [5, 8]),
        ("TRY_CAST(document AS INTEGER) IS NULL AND year::VARCHAR = '2020'", [2]),
        ("TRUE", [1, 2, 3, 5, 8]),
        ("FALSE OR NULL", []),
        ("id >= 'd'", [5, 8]),
    ],
)
def test_a_predicate_selects_the_rows_where_it_is_true(where: str, expected: list[int]) -> None:
    assert rows(where) == expected
    predicate = parse_where(where, SCHEMA)
    again = parse_where(predicate.sql, SCHEMA)
    assert again == predicate, "canonical text is a fixed point"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("yeer = 1", "no column 'yeer'; did you mean 'year'"),
        ("nothing = 1", "'document'"),
        ("document = 5", "cannot be compared with 5; expected a string"),
        ("lower(document) > 5.5", "expected a string"),
        ("document = year", "cannot be compared"),
        ("document IN ('a', 5)", "expected a string"),
        ("document BETWEEN 1 AND 2", "expected a string"),
        ("year = 'many'", "many"),
        ("year IN (1, 'many')", "many"),
        ("year = 1 OR (year IS NOT NULL AND price < 'x')", "'x'"),
        ("\"when\" > 'soon'", "soon"),
        ('"when" > 5', "expected a date or time"),
        ("sold = 1", "expected TRUE or FALSE"),
        ("tags = 'x'", "VARCHAR"),
        ("year", "expected a condition"),
        ("'true'", "expected a condition"),
        ("sold AND year", "expected a condition"),
        ("NOT document", "expected a condition"),
        ("author.age = 1", "has no field 'age' (it has: 'name')"),
        ("document.name = 'x'", "which has no field"),
        ("regexp_matches(document, '(')", "missing )"),
        ("date_part('aeon', \"when\") = 1", "aeon"),
        ("lowr(document) = 'a'", "did you mean lower"),
        ("year ==", "cannot be parsed"),
        ("", "empty"),
        ("CAST(document AS ENUM('a')) = 'a'", "expected one of"),
    ],
)
def test_a_mistake_is_named_with_what_was_expected(where: str, said: str) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        parse_where(where, SCHEMA)
    assert said in str(caught.value)


@pytest.mark.parametrize("where", [5, None, ["year > 1"], b"year > 1"])
def test_a_filter_is_a_string_or_a_dictionary(where: Any) -> None:
    with pytest.raises(InvalidFilterError, match="a SQL string or a dictionary"):
        parse_where(where, SCHEMA)


def test_every_allowed_name_exists_in_the_engine() -> None:
    for name in sorted(allowed.FUNCTIONS):
        said = ""
        try:
            bound_types([f'"{name}"(1, 1, 1, 1, 1, 1, 1, 1, 1)'], pa.schema([]))
        except InvalidFilterError as error:
            said = str(error)
        assert "does not exist" not in said, name
    for type_ in set(allowed.TYPES.values()):
        assert bound_types([f"CAST(NULL AS {type_})"], pa.schema([])) != []


def test_the_columns_read_are_reported_and_only_they_are_needed() -> None:
    predicate = parse_where("Year > 2000 AND author.name IS NOT NULL", SCHEMA)
    assert predicate.columns == {"year", "author"}
    assert predicate.parameters == ()
    loaded = TABLE.select(["author", "row_id", "year"])
    assert select_rows(loaded, predicate).tolist() == [1, 5]
    with pytest.raises(InvalidArgumentError, match="'author'"):
        select_rows(TABLE.select(["row_id", "year"]), predicate)
    with pytest.raises(InvalidArgumentError, match="'row_id'"):
        select_rows(TABLE.select(["author", "year"]), predicate)


# --- the oracle: SQL's three-valued logic in plain Python ---------------------------------------

INTEGERS = st.none() | st.integers(-3, 3)
WORDS = st.none() | st.sampled_from(["", "a", "b", "ab", "A", "é", "'", '"', "a;b", "--"])
BOOLEANS = st.none() | st.booleans()
COMPARE = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def literal(value: int | str | None) -> str:
    if value is None:
        return "NULL"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def compare(a: Any, operator: str, b: Any) -> bool | None:
    return None if a is None or b is None else COMPARE[operator](a, b)


def both(a: bool | None, b: bool | None) -> bool | None:
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def negated(a: bool | None) -> bool | None:
    return None if a is None else not a


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> tuple[str, Any]:
    """Draw SQL text and the function of a row that it means."""
    kind = draw(st.sampled_from(["leaf", "leaf", "and", "or", "not"] if depth else ["leaf"]))
    if kind in ("and", "or"):
        left_sql, left = draw(expressions(depth=depth - 1))
        right_sql, right = draw(expressions(depth=depth - 1))
        if kind == "and":
            return f"({left_sql} AND {right_sql})", lambda r: both(left(r), right(r))
        return (
            f"({left_sql} or {right_sql})",
            lambda r: negated(both(negated(left(r)), negated(right(r)))),
        )
    if kind == "not":
        sql, inner = draw(expressions(depth=depth - 1))
        return f"NOT ({sql})", lambda r: negated(inner(r))
    shape = draw(st.sampled_from(["n", "s", "b", "null", "in", "between", "nn"]))
    if shape == "b":
        return "flag", lambda r: r["flag"]
    if shape == "null":
        name = draw(st.sampled_from(["n", "s", "flag"]))
        return f"{name} IS NULL", lambda r: r[name] is None
    if shape == "in":
        values = draw(st.lists(WORDS, min_size=1, max_size=4))

        def member(r: dict[str, Any]) -> bool | None:
            found = [compare(r["s"], "=", v) for v in values]
            return True if True in found else None if None in found else False

        return f"s IN ({', '.join(map(literal, values))})", member
    if shape == "between":
        low, high = draw(st.integers(-3, 3)), draw(st.integers(-3, 3))
        return (
            f"n BETWEEN {low} AND {high}",
            lambda r: both(compare(r["n"], ">=", low), compare(r["n"], "<=", high)),
        )
    operator = draw(st.sampled_from(sorted(COMPARE)))
    if shape == "nn":
        return (
            f"n + m {operator} m",
            lambda r: (
                None
                if r["n"] is None or r["m"] is None
                else COMPARE[operator](r["n"] + r["m"], r["m"])
            ),
        )
    value = draw(WORDS if shape == "s" else INTEGERS)
    return f"{shape} {operator} {literal(value)}", lambda r: compare(r[shape], operator, value)


@settings(max_examples=150, deadline=None)
@given(
    data=st.lists(st.tuples(INTEGERS, INTEGERS, WORDS, BOOLEANS), min_size=1, max_size=8),
    drawn=expressions(),
)
def test_sql_agrees_with_three_valued_logic(data: list[Any], drawn: tuple[str, Any]) -> None:
    where, meaning = drawn
    n, m, s, flag = (list(column) for column in zip(*data, strict=True))
    table = pa.table(
        {
            "row_id": pa.array(range(len(data)), pa.int64()),
            "n": pa.array(n, pa.int64()),
            "m": pa.array(m, pa.int64()),
            "s": pa.array(s, pa.string()),
            "flag": pa.array(flag, pa.bool_()),
        }
    )
    expected = [i for i, row in enumerate(table.to_pylist()) if meaning(row) is True]
    assert rows(where, table) == expected


# --- names --------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12))
def test_a_column_of_any_name_can_be_filtered(name: str) -> None:
    if name.lower() in ("row_id", "id"):
        name += "'"
    table = pa.table({"row_id": [1, 2], "id": ["a", "b"], name: [7, 8]})
    if "$" not in name and ";" not in name:
        assert rows('"' + name.replace('"', '""') + '" = 8', table) == [2]
    if not name.startswith("$"):
        assert rows({name: 8}, table) == [2]
        assert rows({name: {"$in": [7]}}, table) == [1]


def test_names_that_differ_by_case_are_told_apart_or_refused() -> None:
    table = pa.table({"row_id": [1, 2], "Year": [1, 2], "year": [2, 1]})
    assert rows("year = 2", table) == [1]
    assert rows('"Year" = 2', table) == [2]
    with pytest.raises(InvalidFilterError, match="ambiguous"):
        rows("YEAR = 2", table)
    with pytest.raises(InvalidFilterError, match="differ only by"):
        rows({"Year": 1, "year": 2}, table)


def test_the_row_id_is_not_visible() -> None:
    with pytest.raises(InvalidFilterError, match="no column 'row_id'"):
        rows("row_id = 1")
    with pytest.raises(InvalidFilterError, match="reserved"):
        parse_where("ROW_ID = 1", pa.schema({"Row_Id": pa.int64()}))


def test_columns_may_be_named_like_keywords_tables_and_special_values() -> None:
    names = ["rows", "current_date", "select", "rowid", "user", "true"]
    table = pa.table({"row_id": [1, 2]} | {name: [1, 2] for name in names})
    for name in names:
        assert rows(f'"{name}" = 2', table) == [2]
        assert rows({name: 2}, table) == [2]
    assert rows("current_date = 2", table) == [2]


# --- Arrow --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "type_",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())],
    ids=str,
)
def test_every_encoding_of_strings_can_be_filtered(type_: pa.DataType) -> None:
    words = pa.array(["a", None, "c"], pa.string())
    table = pa.table({"row_id": [1, 2, 3], "w": words.cast(type_)})
    assert rows("w > 'a'", table) == [3]
    assert rows({"w": {"$in": ["a", "c"]}}, table) == [1, 3]
    assert rows({"w": {"$ne": "a"}}, table) == [2, 3]


def test_several_tables_are_one_and_ids_come_in_ascending_order() -> None:
    first = pa.table({"row_id": [9, 4], "year": pa.array([1, 2], pa.int64())})
    second = pa.table({"row_id": [7, 1], "year": pa.array([2.0, None], pa.float64())})
    third = pa.table({"row_id": [2]})
    predicate = parse_where("year >= 1", pa.schema({"year": pa.float64()}))
    found = select_rows([first, second, third], predicate)
    assert found.tolist() == [4, 7, 9]
    assert found.dtype == np.int64
    missing = parse_where("year IS NULL", pa.schema({"year": pa.float64()}))
    assert select_rows([first, second, third], missing).tolist() == [1, 2]


def test_no_tables_and_no_rows_select_nothing() -> None:
    predicate = parse_where("year > 1", SCHEMA)
    for table in ([], TABLE.slice(0, 0), [TABLE.slice(0, 0)]):
        found = select_rows(table, predicate)
        assert found.tolist() == []
        assert found.dtype == np.int64


def test_tables_of_unlike_types_are_refused() -> None:
    predicate = parse_where("year > 1", SCHEMA)
    words = pa.table({"row_id": [1], "year": ["x"]})
    with pytest.raises(InvalidArgumentError, match="cannot be filtered as one"):
        select_rows([TABLE, words], predicate)


def test_a_filter_string_is_parsed_once_per_schema() -> None:
    first = parse_where("year > 12345", SCHEMA)
    assert parse_where("year > 12345", pa.schema(list(SCHEMA))) is first
    other = parse_where("year > 12345", pa.schema({"Year": pa.int32()}))
    assert other.columns == {"Year"}


def test_a_column_type_the_engine_cannot_read_is_refused() -> None:
    half = pa.schema({"h": pa.float16()})
    for where in ("h > 1", {"h": 1.0}):
        with pytest.raises(InvalidFilterError):
            parse_where(where, half)


def test_a_predicate_is_a_value() -> None:
    one = Predicate(sql="TRUE", parameters=(), columns=frozenset())
    assert one == parse_where("TRUE", SCHEMA)
    assert hash(one) == hash(parse_where("true", SCHEMA))


def test_the_length_limit_is_of_bytes() -> None:
    fits = "id = '" + "é" * ((MAX_SQL_LENGTH - 7) // 2) + "'"
    assert rows(fits) == []
    with pytest.raises(InvalidFilterError, match=r"\$in"):
        rows(fits + "  ")


@pytest.mark.parametrize(
    ("pattern", "cost"),
    [
        ("abc", 3),
        ("^a{3}$", 3),
        ("(ab){2,5}", 10),
        ("((a{10}){10}){10}", 1000),
        (r"\{3}", 4),
        ("[a-z]{10}.", 44),
        ("(?i:ab)|c", 3),
        (r"[]{3}]{2}", 8),
        (r"[[:alpha:]]{2}", 8),
    ],
)
def test_the_cost_of_a_regular_expression_counts_repetitions_written_out(
    pattern: str, cost: int
) -> None:
    assert regex_cost(pattern) == cost
