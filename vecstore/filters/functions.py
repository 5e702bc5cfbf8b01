"""What a SQL predicate may call: the allow-lists of functions, operators and types.

A name is on a list only if it is *deterministic* (the same snapshot gives the same rows
tomorrow: no clock, no random numbers), *pure* (reads its arguments only: no settings, catalog,
files or sequences) and *frugal* (its result is no larger than about its arguments: no
``repeat``, ``range``, ``replace`` or ``||``, which allocate by the gigabyte on request).
"""

from __future__ import annotations

__all__ = ["BINARY_OPERATORS", "FUNCTIONS", "REGEX_FUNCTIONS", "TYPES", "UNARY_OPERATORS"]

_STRINGS = """
    lower lcase upper ucase length len char_length character_length strlen
    contains starts_with ends_with prefix suffix position strpos instr
    substring substr left right trim ltrim rtrim reverse split_part
    strip_accents nfc_normalize ascii unicode ord
    regexp_matches regexp_full_match regexp_extract
"""
_NUMBERS = """
    abs sign ceil ceiling floor round trunc mod sqrt cbrt exp ln log log2 log10 pow power
    greatest least isnan isinf isfinite
"""
_DATES = """
    year month day hour minute second quarter week weekofyear weekday dayofweek isodow
    dayofmonth dayofyear yearweek decade century monthname dayname last_day
    date_part datepart date_trunc datetrunc date_diff datediff date_add
    epoch epoch_ms epoch_us make_date make_timestamp to_timestamp strptime try_strptime timezone
    to_years to_months to_weeks to_days to_hours to_minutes to_seconds to_milliseconds
"""
_LISTS = """
    list_value list_contains list_has array_contains array_has
    list_has_any array_has_any list_has_all array_has_all
    list_position list_indexof array_position array_length
    list_extract list_element array_extract struct_extract
    list_min list_max list_sum list_avg list_distinct list_unique
"""
_CHOICE = "ifnull nullif if"

FUNCTIONS = frozenset(" ".join((_STRINGS, _NUMBERS, _DATES, _LISTS, _CHOICE)).split())

# Their second argument must be a literal, so that its cost is known before any row is read.
REGEX_FUNCTIONS = frozenset({"regexp_matches", "regexp_full_match", "regexp_extract"})

# DuckDB parses operators as functions; ~~ is LIKE, ~~* is ILIKE, ~~~ is GLOB, ^@ is starts_with.
BINARY_OPERATORS = frozenset(
    ["+", "-", "*", "/", "//", "%", "~~", "!~~", "~~*", "!~~*", "~~~", "^@", "&&", "@>", "<@"]
)
UNARY_OPERATORS = frozenset(["+", "-"])

# Spellings a cast may name, to the one that is emitted. Lists of these are allowed as well.
TYPES = {
    **dict.fromkeys(["boolean", "bool", "logical"], "BOOLEAN"),
    **dict.fromkeys(["tinyint", "int1"], "TINYINT"),
    **dict.fromkeys(["smallint", "int2", "short", "int16"], "SMALLINT"),
    **dict.fromkeys(["integer", "int", "int4", "signed", "int32"], "INTEGER"),
    **dict.fromkeys(["bigint", "int8", "long", "int64"], "BIGINT"),
    **dict.fromkeys(["hugeint", "int128"], "HUGEINT"),
    **dict.fromkeys(["utinyint", "uint8"], "UTINYINT"),
    **dict.fromkeys(["usmallint", "uint16"], "USMALLINT"),
    **dict.fromkeys(["uinteger", "uint32"], "UINTEGER"),
    **dict.fromkeys(["ubigint", "uint64"], "UBIGINT"),
    **dict.fromkeys(["float", "float4", "real"], "FLOAT"),
    **dict.fromkeys(["double", "float8", "double precision"], "DOUBLE"),
    **dict.fromkeys(["decimal", "numeric", "dec"], "DECIMAL"),
    **dict.fromkeys(["varchar", "text", "string", "char", "bpchar"], "VARCHAR"),
    "date": "DATE",
    "time": "TIME",
    "interval": "INTERVAL",
    **dict.fromkeys(["timestamp", "datetime", "timestamp without time zone"], "TIMESTAMP"),
    **dict.fromkeys(["timestamptz", "timestamp with time zone"], "TIMESTAMPTZ"),
    "timestamp_s": "TIMESTAMP_S",
    "timestamp_ms": "TIMESTAMP_MS",
    "timestamp_us": "TIMESTAMP",
    "timestamp_ns": "TIMESTAMP_NS",
}
