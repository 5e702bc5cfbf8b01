"""Dictionary filters: Mongo's two-valued logic against a plain-Python oracle, types, limits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecstore.errors import InvalidFilterError
from vecstore.filters import parse_where, select_rows
from vecstore.filters.mongo import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES

UTC = dt.UTC
TYPES: dict[str, pa.DataType] = {
    "int": pa.int32(),
    "float": pa.float64(),
    "word": pa.string(),
    "flag": pa.bool_(),
    "second": pa.timestamp("s"),
    "nano": pa.timestamp("ns"),
    "zoned": pa.timestamp("us", "Europe/Berlin"),
    "day": pa.date32(),
    "money": pa.decimal128(12, 2),
    "words": pa.list_(pa.string()),
    "ints": pa.list_(pa.int64()),
    "days": pa.list_(pa.timestamp("s")),
}
SCHEMA = pa.schema(TYPES)


def rows(where: Any, table: pa.Table) -> list[int]:
    schema = pa.schema([f for f in table.schema if f.name != "row_id"])
    return select_rows(table, parse_where(where, schema)).tolist()


# --- the oracle ---------------------------------------------------------------------------------

INTS = st.integers(-2, 2)
WORDS = st.sampled_from(["", "a", "b", "ab", "A%", "a_", "雪", "'; DROP TABLE rows; --", "?", "\0"])
MOMENTS = st.sampled_from(
    [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, 12), dt.datetime(1970, 1, 1, 0, 0, 1)]
)
HALVES = MOMENTS | MOMENTS.map(lambda m: m + dt.timedelta(microseconds=500_000))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": INTS,
    "float": st.sampled_from([0.0, 0.5, -1.5, 2.0]),
    "word": WORDS,
    "flag": st.booleans(),
    "second": MOMENTS,
    "nano": MOMENTS,
    "zoned": MOMENTS.map(lambda m: m.replace(tzinfo=UTC)),
    "day": MOMENTS.map(dt.datetime.date),
    "money": st.sampled_from([Decimal("0.50"), Decimal("2.00"), Decimal("-1.50")]),
    "words": st.lists(WORDS, max_size=2),
    "ints": st.lists(INTS, max_size=2),
    "days": st.lists(MOMENTS, max_size=2),
}
# What a filter may ask for, a little wider than what is stored.
ASKED: dict[str, st.SearchStrategy[Any]] = VALUES | {
    "int": INTS | st.sampled_from([0.5, 1.0, np.int64(2), 2**70]),
    "float": VALUES["float"] | INTS,
    "second": HALVES,
    "nano": HALVES,
    "zoned": HALVES.map(lambda m: m.replace(tzinfo=UTC))
    | MOMENTS.map(lambda m: m.replace(tzinfo=UTC).astimezone(dt.timezone(dt.timedelta(hours=5)))),
    "day": VALUES["day"] | HALVES,
    "money": VALUES["money"] | INTS | st.just(Decimal("0.505")),
    "words": WORDS,
    "ints": INTS | st.just(0.5),
    "days": HALVES,
}
ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}


def moment(value: Any) -> Any:
    """Bring dates to datetimes, which is how they compare."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return dt.datetime(value.year, value.month, value.day)
    return value


def equal(stored: Any, asked: Any) -> bool:
    if asked is None or stored is None:
        return asked is None and stored is None
    if isinstance(stored, list):
        return stored == asked if isinstance(asked, list) else asked in stored
    return bool(moment(stored) == moment(asked))


def holds(stored: Any, operator: str, asked: Any) -> bool:
    """Say whether one condition holds for one stored value."""
    match operator:
        case "$eq":
            return equal(stored, asked)
        case "$ne":
            return not equal(stored, asked)
        case "$in":
            return any(equal(stored, a) for a in asked)
        case "$nin":
            return not any(equal(stored, a) for a in asked)
        case "$exists":
            return (stored is not None) == asked
        case "$contains":
            return stored is not None and asked in stored
        case "$not_contains":
            return not (stored is not None and asked in stored)
    return stored is not None and ORDER[operator](moment(stored), moment(asked))


def means(where: dict[str, Any], row: dict[str, Any]) -> bool:
    """Say whether a row matches a filter."""
    for name, value in where.items():
        match name:
            case "$and":
                found = all(means(w, row) for w in value)
            case "$or":
                found = any(means(w, row) for w in value)
            case "$nor":
                found = not any(means(w, row) for w in value)
            case "$not":
                found = not means(value, row)
            case _:
                operators = value if isinstance(value, dict) else {"$eq": value}
                found = all(
                    not means({name: asked}, row)
                    if operator == "$not"
                    else holds(row[name], operator, asked)
                    for operator, asked in operators.items()
                )
        if not found:
            return False
    return True


@st.composite
def conditions(draw: st.DrawFn, name: str) -> Any:
    asked = ASKED[name]
    is_list = pa.types.is_list(TYPES[name])
    operators = ["$eq", "$ne", "$in", "$nin", "$exists", "$not"]
    if is_list or name == "word":
        operators += ["$contains", "$not_contains"]
    if not is_list and name != "flag":
        operators += [*ORDER, *ORDER]
    operator = draw(st.sampled_from([*operators, "bare"]))
    equals = st.none() | asked | (VALUES[name] if is_list else asked)
    match operator:
        case "bare":
            return draw(equals)
        case "$eq" | "$ne":
            return {operator: draw(equals)}
        case "$in" | "$nin":
            return {operator: draw(st.lists(st.none() | asked, max_size=4))}
        case "$exists":
            return {operator: draw(st.booleans())}
        case "$not":
            inner = draw(conditions(name))
            return {operator: inner if isinstance(inner, dict) else {"$eq": inner}}
    return {operator: draw(asked)}


@st.composite
def filters(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(TYPES)), max_size=2, unique=True))
    where: dict[str, Any] = {name: draw(conditions(name)) for name in names}
    if depth:
        joined = draw(st.sampled_from([None, None, "$and", "$or", "$nor", "$not"]))
        if joined == "$not":
            where[joined] = draw(filters(depth - 1))
        elif joined:
            where[joined] = draw(st.lists(filters(depth - 1), min_size=1, max_size=3))
    return where


RECORDS = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}),
    min_size=1,
    max_size=6,
)


@settings(max_examples=250, deadline=None)
@given(records=RECORDS, where=filters())
def test_dictionaries_agree_with_two_valued_logic(
    records: list[dict[str, Any]], where: dict[str, Any]
) -> None:
    table = pa.Table.from_pylist(records, schema=SCHEMA)
    table = table.add_column(0, "row_id", pa.array(range(len(records)), pa.int64()))
    expected = [i for i, record in enumerate(records) if means(where, record)]
    assert rows(where, table) == expected


# --- semantics, stated --------------------------------------------------------------------------

PEOPLE = pa.table(
    {
        "row_id": [1, 2, 3],
        "name": ["Ann", "Bo", None],
        "age": pa.array([30, None, 50], pa.int64()),
        "tags": pa.array([["x", "y"], [], None], pa.list_(pa.string())),
        "home": pa.array(
            [{"city": "Ulm", "geo": {"x": 1}}, {"city": None, "geo": None}, None],
            pa.struct([("city", pa.string()), ("geo", pa.struct([("x", pa.int64())]))]),
        ),
        "a.b": [1, 2, 3],
        "empty": pa.nulls(3),
        "raw": pa.array([b"x", b"y", None]),
    }
)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"age": {"$ne": 30}}, [2, 3]),
        ({"age": {"$nin": [30]}}, [2, 3]),
        ({"age": {"$nin": [30, None]}}, [3]),
        ({"age": {"$not": {"$gt": 40}}}, [1, 2]),
        ({"$nor": [{"age": 30}, {"name": "Bo"}]}, [3]),
        ({"age": None}, [2]),
        ({"age": {"$ne": None}}, [1, 3]),
        ({"age": {"$in": []}}, []),
        ({"age": {"$nin": []}}, [1, 2, 3]),
        ({"age": {"$gte": 30, "$lt": 50}, "name": "Ann"}, [1]),
        ({"$or": [{"age": 50}, {"$and": [{"name": "Bo"}, {"tags": []}]}]}, [2, 3]),
        ({"tags": "x"}, [1]),
        ({"tags": ["x", "y"]}, [1]),
        ({"tags": ["y", "x"]}, []),
        ({"tags": {"$not_contains": "x"}}, [2, 3]),
        ({"name": {"$contains": "n"}}, [1]),
        ({"name": {"$like": "A%"}}, [1]),
        ({"name": {"$ilike": "b_"}}, [2]),
        ({"name": {"$regex": "^[A-B]"}}, [1, 2]),
        ({"home.city": "Ulm"}, [1]),
        ({"home.geo.x": {"$lt": 5}}, [1]),
        ({"home.geo": {"$exists": False}}, [2, 3]),
        ({"a.b": 2}, [2]),
        ({"empty": None}, [1, 2, 3]),
        ({"empty": {"$gt": 3}}, []),
        ({"empty": {"$in": [1, "x"]}}, []),
        ({"raw": {"$exists": True}}, [1, 2]),
        ({"age": {"$in": np.array([30, 50])}}, [1, 3]),
        ({"age": {"$in": {30, 31}}}, [1]),
        ({"age": np.float32(50.0)}, [3]),
    ],
)
def test_what_missing_values_lists_and_paths_mean(where: Any, expected: list[int]) -> None:
    assert rows(where, PEOPLE) == expected


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"age": "30"}, "expects a number, got str '30'"),
        ({"age": True}, "expects a number, got bool"),
        ({"age": {"$in": [1, "x"]}}, "got str 'x'"),
        ({"age": {"$in": 30}}, "expects a list"),
        ({"name": {"$in": "Ann"}}, "expects a list"),
        ({"name": 5}, "expects a string, got int 5"),
        ({"name": {"$gt": None}}, "expects a string, got NoneType"),
        ({"age": {"$exists": 1}}, "expects True or False"),
        ({"age": {"$contains": 1}}, "column of strings or a list"),
        ({"age": {"$like": "3%"}}, "column of strings"),
        ({"tags": {"$gt": "x"}}, "cannot compare"),
        ({"tags": {"$contains": 5}}, "expects a string"),
        ({"raw": b"x"}, "cannot compare"),
        ({"home": {"city": "Ulm"}}, "'home.field'"),
        ({"home.town": "Ulm"}, "it has: 'city', 'geo'"),
        ({"home.city.x": 1}, "has no field 'x'"),
        ({"nme": "Ann"}, "did you mean 'name'"),
        ({"nme.first": "Ann"}, "no column 'nme.first'"),
        ({"age": {"$above": 3}}, "$gte"),
        ({"$xor": []}, "expected one of $and, $or, $nor, $not"),
        ({"$and": []}, "at least one"),
        ({"$or": {"age": 1}}, "expects a list"),
        ({"$or": ["age = 1"]}, "expected a dictionary"),
        ({"$not": 5}, "expected a dictionary"),
        ({"age": {"$not": 5}}, "dictionary of operators"),
        ({"age": {}}, "expected an operator"),
        ({5: 5}, "expected a column name"),
        ({"age": 2**127}, "127 bits"),
        ({"age": Decimal("1e50")}, "38 digits"),
        ({"name": "\ud800"}, "not valid Unicode"),
        ({"name": {"$regex": "("}}, "missing )"),
    ],
)
def test_a_mistake_is_named_with_what_was_expected(where: Any, said: str) -> None:
    schema = pa.schema([f for f in PEOPLE.schema if f.name != "row_id"])
    with pytest.raises(InvalidFilterError) as caught:
        parse_where(where, schema)
    assert said in str(caught.value)


def test_dates_may_be_written_as_iso_strings_and_zones_are_kept_apart() -> None:
    noon = dt.datetime(2024, 5, 31, 12)
    table = pa.table(
        {
            "row_id": [1],
            "naive": pa.array([noon], pa.timestamp("ns")),
            "zoned": pa.array([noon], pa.timestamp("ms", "America/New_York")),
            "day": pa.array([noon.date()], pa.date64()),
        }
    )
    assert rows({"naive": "2024-05-31T12:00"}, table) == [1]
    assert rows({"zoned": "2024-05-31T12:00Z"}, table) == [1]
    assert rows({"zoned": "2024-05-31T14:00+02:00"}, table) == [1]
    assert rows({"zoned": {"$in": ["2024-05-31T14:00+02:00"]}}, table) == [1]
    assert rows({"zoned": noon}, table) == [1], "a naive time is UTC in a zoned column"
    assert rows({"day": "2024-05-31", "naive": {"$gt": dt.date(2024, 5, 31)}}, table) == [1]
    assert rows({"naive": np.datetime64("2024-05-31T12:00", "s")}, table) == [1]
    for wrong, said in [
        ({"naive": noon.replace(tzinfo=UTC)}, "no time zone"),
        ({"naive": "soon"}, "ISO 8601"),
        ({"naive": 5}, "expects a datetime"),
        ({"naive": dt.datetime(3000, 1, 1)}, "1678 to 2261"),
        ({"zoned": "0001-01-01T00:00+14:00"}, "years 1 to 9999"),
    ]:
        with pytest.raises(InvalidFilterError, match=said):
            rows(wrong, table)


def test_values_are_never_part_of_the_sql() -> None:
    schema = pa.schema({"name": pa.string(), "tags": pa.list_(pa.string())})
    evil = "x') OR TRUE --"
    for condition in (evil, {"$in": [evil]}, {"$contains": evil}, {"$ne": evil}):
        for name in ("name", "tags"):
            assert evil not in parse_where({name: condition}, schema).sql


def test_a_long_list_is_one_parameter() -> None:
    wanted = [f"item-{i}" for i in range(0, 40_000, 2)]
    table = pa.table({"row_id": np.arange(40_000), "id": [f"item-{i}" for i in range(40_000)]})
    predicate = parse_where({"id": {"$in": wanted}}, pa.schema({"id": pa.string()}))
    assert len(predicate.parameters) == 1
    assert select_rows(table, predicate).tolist() == list(range(0, 40_000, 2))
    assert rows({"id": {"$nin": wanted}}, table) == list(range(1, 40_000, 2))


def test_limits_are_stated_in_the_refusal() -> None:
    schema = pa.schema({"n": pa.int64(), "l": pa.list_(pa.int64()), "d": pa.decimal128(5, 1)})
    deep: dict[str, Any] = {"n": 1}
    for _ in range(MAX_DEPTH + 1):
        deep = {"$not": deep}
    endless: dict[str, Any] = {}
    endless["$and"] = [endless]
    wide = {"$or": [{"n": i} for i in range(MAX_CONDITIONS + 1)]}
    for where, said in [
        (deep, f"{MAX_DEPTH} levels"),
        (endless, f"{MAX_DEPTH} levels"),
        (wide, "use \\$in"),
        ({"n": {"$in": range(MAX_VALUES + 1)}}, f"at most {MAX_VALUES}"),
        ({"l": list(range(MAX_CONDITIONS + 1))}, f"at most {MAX_CONDITIONS}"),
        ({"d": {"$in": list(range(MAX_CONDITIONS + 1))}}, f"at most {MAX_CONDITIONS}"),
    ]:
        with pytest.raises(InvalidFilterError, match=said):
            parse_where(where, schema)


def test_filters_up_to_the_limits_run() -> None:
    table = pa.table({"row_id": [1, 2], "n": [MAX_CONDITIONS - 1, -5]})
    deep: dict[str, Any] = {"n": -5}
    for _ in range(MAX_DEPTH - 1):
        deep = {"$not": deep}
    assert rows(deep, table) == ([1] if MAX_DEPTH % 2 == 0 else [2])
    assert rows({"$or": [{"n": i} for i in range(MAX_CONDITIONS)]}, table) == [1]
