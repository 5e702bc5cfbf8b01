"""SQL text to a predicate: DuckDB parses it, and only what this module can write is kept.

The text is parsed by DuckDB (never run), and its syntax tree is written out again by
`_Writer`, node by node, with columns resolved against the schema. Whatever the writer has no
method for (subqueries, windows, stars, lambdas, parameters, configuration, ...) is refused,
so nothing reaches the engine that was not understood here. ``comparisons`` then checks types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, final

import pyarrow as pa

from vecstore.errors import InvalidFilterError
from vecstore.filters import functions
from vecstore.filters.columns import Column, ColumnReader, field_of, quote_string
from vecstore.filters.comparisons import Operand, check_types
from vecstore.filters.engine import syntax_tree
from vecstore.filters.patterns import check_like, check_regex

__all__ = ["MAX_DEPTH", "MAX_SQL_LENGTH", "compile_sql"]

MAX_SQL_LENGTH = 64 * 1024
"""Bytes (UTF-8) of a filter string; long lists of values belong in a dictionary's ``$in``."""

MAX_DEPTH = 64
"""Levels of nesting of a filter string."""

Node = dict[str, Any]


def compile_sql(text: str, schema: pa.Schema) -> tuple[str, frozenset[str]]:
    """Return the canonical SQL of a filter string and the columns it reads.

    Raises
    ------
    InvalidFilterError
        The text is not one boolean expression over the schema's columns.
    """
    check_text(text)
    writer = _Writer(schema)
    sql = writer.write(_where_clause(text), 0)
    columns = writer.columns.read
    read = pa.schema([schema.field(name) for name in sorted(columns)])
    check_types(sql, writer.comparisons, writer.conditions, read)
    return sql, columns


# --- before parsing ---------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<quoted>'[^']*'|"[^"]*")"""
    r"""|(?P<refused>--|/\*|\*/|;|\$|\?|(?<![^\W\d])(?<!\d)[eExXbB]'|[uU]&['"])"""
    r"""|(?P<unterminated>['"])"""
    r"""|(?P<open>[(\[{])|(?P<close>[)\]}])"""
)
_PAIRS = {")": "(", "]": "[", "}": "{"}
_REFUSALS = {
    "-": "comments",
    "/": "comments",
    "*": "comments",
    ";": "several statements",
    "$": "'$' (parameters and dollar quotes)",
    "?": "parameters",
}


def check_text(text: str) -> None:
    """Refuse what needs no parser to be refused, or would cost the parser too much."""
    if not text.strip():
        raise InvalidFilterError(
            "the filter is empty; expected a SQL predicate such as \"year > 2020 AND lang = 'en'\""
        )
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidFilterError(
            "the filter is not valid Unicode (it has a lone surrogate)"
        ) from None
    if size > MAX_SQL_LENGTH:
        raise InvalidFilterError(
            f"the filter has {size} bytes, expected at most {MAX_SQL_LENGTH}; pass long lists of "
            'values as a dictionary: {"id": {"$in": [...]}}'
        )
    if "\0" in text:
        raise InvalidFilterError("the filter contains a NUL character")
    opened: list[str] = []
    for token in _TOKEN.finditer(text):
        kind, found = token.lastgroup, token[0]
        if kind == "refused":
            what = _REFUSALS.get(found[0], f"string literals written {found}...{found[-1]}")
            raise InvalidFilterError(f"the filter contains {what}; expected one plain predicate")
        if kind == "unterminated":
            raise InvalidFilterError(f"the filter has an unterminated {found} quote")
        if kind == "open":
            opened.append(found)
            if len(opened) > MAX_DEPTH:
                raise InvalidFilterError(_too_deep())
        elif kind == "close" and (not opened or opened.pop() != _PAIRS[found]):
            raise InvalidFilterError(f"the filter has an unbalanced {found!r}")
    if opened:
        raise InvalidFilterError(f"the filter has an unbalanced {opened[-1]!r}")


def _where_clause(text: str) -> Node:
    """Return the syntax tree of the predicate, and refuse everything around it."""
    tree = syntax_tree(f"SELECT 1 FROM rows WHERE ({text}\n)")
    if tree.get("error"):
        raise InvalidFilterError(
            f"the filter cannot be parsed: {tree.get('error_message', 'syntax error')}"
        )
    statements = tree["statements"]
    node: Node = statements[0]["node"]
    around = ("modifiers", "group_expressions", "group_sets", "having", "sample", "qualify")
    if (
        len(statements) != 1
        or node["type"] != "SELECT_NODE"
        or any(node.get(key) for key in around)
        or node["cte_map"]["map"]
        or node["from_table"]["type"] != "BASE_TABLE"
        or not node.get("where_clause")
    ):
        raise InvalidFilterError("the filter is not one predicate and nothing else")
    where: Node = node["where_clause"]
    return where


# --- the writer -------------------------------------------------------------------------------


_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}
_LOGIC = {"COMPARISON", "BETWEEN", "CONJUNCTION", "OPERATOR_NOT", "OPERATOR_IS_NULL"} | {
    "OPERATOR_IS_NOT_NULL",
    "COMPARE_IN",
    "COMPARE_NOT_IN",
}
_NUMBER = re.compile(r"-?[0-9][0-9_]*(\.[0-9_]*)?([eE][+-]?[0-9]+)?|-?\.[0-9_]+([eE][+-]?[0-9]+)?")
_NAMED = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "'*'",
    "LAMBDA": "a lambda",
    "PARAMETER": "a parameter",
    "COLLATE": "COLLATE",
    "DEFAULT": "DEFAULT",
    "POSITIONAL_REFERENCE": "a positional reference",
}


@final
class _Writer:
    """Writes a syntax tree as SQL and notes the columns, comparisons and conditions in it."""

    def __init__(self, schema: pa.Schema) -> None:
        self.columns = ColumnReader(schema)
        self.comparisons: list[list[Operand]] = []
        self.conditions: list[Operand] = []
        self._writers: dict[str, Callable[[Node, int], str]] = {
            "BETWEEN": self._between,
            "CASE": self._case,
            "CAST": self._cast,
            "COLUMN_REF": self._column,
            "COMPARISON": self._comparison,
            "CONJUNCTION": self._conjunction,
            "CONSTANT": self._constant,
            "FUNCTION": self._function,
            "OPERATOR": self._operator,
        }

    def write(self, node: Node, depth: int) -> str:
        if depth > MAX_DEPTH:
            raise InvalidFilterError(_too_deep())
        writer = self._writers.get(node["class"])
        if writer is None:
            what = _NAMED.get(node["class"], node["class"].lower())
            raise InvalidFilterError(f"the filter contains {what}, which a predicate may not")
        return writer(node, depth + 1)

    def _operands(self, nodes: Sequence[Node], depth: int) -> list[Operand]:
        return [Operand(self.write(node, depth), _kind(node)) for node in nodes]

    def _column(self, node: Node, depth: int) -> str:
        head, *fields = node["column_names"]
        column: Column = self.columns.find(head)
        for field in fields:
            column = field_of(column, field)
        return column.sql

    def _constant(self, node: Node, depth: int) -> str:
        kind, text = node["literal"]["kind"], node["literal"].get("text", "")
        if kind == "STRING":
            return quote_string(text)
        if kind in ("INTEGER", "NUMERIC") and _NUMBER.fullmatch(text):
            return f"({text})" if text.startswith("-") else str(text)
        if kind == "BOOLEAN" and text in ("true", "false"):
            return str(text).upper()
        if kind == "NULL_LITERAL":
            return "NULL"
        raise InvalidFilterError(
            f"the filter contains a {kind.lower()} literal; expected a string, a number, TRUE, "
            "FALSE or NULL"
        )

    def _comparison(self, node: Node, depth: int) -> str:
        left, right = operands = self._operands((node["left"], node["right"]), depth)
        self.comparisons.append(operands)
        return f"({left.sql} {_COMPARISONS[node['type']]} {right.sql})"

    def _between(self, node: Node, depth: int) -> str:
        operands = self._operands((node["input"], node["lower"], node["upper"]), depth)
        self.comparisons.append(operands)
        subject, lower, upper = operands
        return f"({subject.sql} BETWEEN {lower.sql} AND {upper.sql})"

    def _conjunction(self, node: Node, depth: int) -> str:
        operands = self._operands(node["children"], depth)
        self.conditions += operands
        word = {"CONJUNCTION_AND": " AND ", "CONJUNCTION_OR": " OR "}[node["type"]]
        return f"({word.join(o.sql for o in operands)})"

    def _case(self, node: Node, depth: int) -> str:
        parts = []
        for check in node["case_checks"]:
            when, then = self._operands((check["when_expr"], check["then_expr"]), depth)
            self.conditions.append(when)
            parts.append(f"WHEN {when.sql} THEN {then.sql}")
        return f"(CASE {' '.join(parts)} ELSE {self.write(node['else_expr'], depth)} END)"

    def _cast(self, node: Node, depth: int) -> str:
        word = "TRY_CAST" if node["try_cast"] else "CAST"
        return f"{word}({self.write(node['child'], depth)} AS {_type(node['type_expr'])})"

    def _operator(self, node: Node, depth: int) -> str:
        operands = self._operands(node["children"], depth)
        first, *rest = operands
        listed = ", ".join(o.sql for o in operands)
        match node["type"]:
            case "OPERATOR_NOT":
                self.conditions.append(first)
                return f"(NOT {first.sql})"
            case "OPERATOR_IS_NULL":
                return f"({first.sql} IS NULL)"
            case "OPERATOR_IS_NOT_NULL":
                return f"({first.sql} IS NOT NULL)"
            case "COMPARE_IN" | "COMPARE_NOT_IN":
                self.comparisons.append(operands)
                word = "IN" if node["type"] == "COMPARE_IN" else "NOT IN"
                return f"({first.sql} {word} ({', '.join(o.sql for o in rest)}))"
            case "OPERATOR_COALESCE":
                return f"coalesce({listed})"
            case "OPERATOR_TRY":
                return f"TRY({listed})"
            case "ARRAY_CONSTRUCTOR":
                return f"[{listed}]"
            case "ARRAY_EXTRACT":
                return f"({first.sql})[{rest[0].sql}]"
            case "ARRAY_SLICE" if len(rest) == 2:
                return f"({first.sql})[{rest[0].sql}:{rest[1].sql}]"
            case "STRUCT_EXTRACT":
                return f'"struct_extract"({listed})'
            case other:
                raise InvalidFilterError(
                    f"the filter contains {other.lower()}, which a predicate may not"
                )

    def _function(self, node: Node, depth: int) -> str:
        name = node["function_name"].lower()
        arguments = [a["expression"] for a in node["arguments"]]
        if (
            node["filter"]
            or node["distinct"]
            or node["order_bys"]["orders"]
            or node["export_state"]
            or len(node["qualified_name"]["path"]) != 1
            or any(a["name"] for a in node["arguments"])
        ):
            raise InvalidFilterError(
                f"the filter calls {name} in a way a predicate may not; expected "
                f"{name}(argument, ...)"
            )
        if "~~" in name and len(arguments) == 2 and "literal" in arguments[1]:
            check_like(arguments[1]["literal"].get("text", ""))
        if name in functions.REGEX_FUNCTIONS:
            for argument in arguments[1:]:
                if argument.get("literal", {}).get("kind") not in ("STRING", "INTEGER"):
                    raise InvalidFilterError(
                        f"the pattern of {name} must be a string literal, such as '^[a-z]+$'"
                    )
            if len(arguments) > 1:
                check_regex(arguments[1]["literal"]["text"])
        written = [self.write(a, depth) for a in arguments]
        if len(written) == 2 and name in functions.BINARY_OPERATORS:
            return f"({written[0]} {name} {written[1]})"
        if len(written) == 1 and name in functions.UNARY_OPERATORS:
            return f"({name} {written[0]})"
        if name not in functions.FUNCTIONS:
            close = get_close_matches(name, functions.FUNCTIONS, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise InvalidFilterError(
                f"the filter calls {name[:60]!r}, which a predicate may not{hint} (allowed are "
                "deterministic functions of one row: text, numbers, dates and lists)"
            )
        return f'"{name}"({", ".join(written)})'


def _kind(node: Node) -> str | None:
    """Return the kind of a literal, or BOOLEAN for what is a condition by its syntax."""
    if "literal" in node:
        return str(node["literal"]["kind"])
    return "BOOLEAN" if node["class"] in _LOGIC or node["type"] in _LOGIC else None


def _type(node: Node) -> str:
    """Write the type of a cast."""
    name, children = node["type_name"].lower(), node["children"]
    if name == "list" and len(children) == 1:
        return f"{_type(children[0])}[]"
    type_ = functions.TYPES.get(name)
    if type_ is None or node.get("class") != "TYPE":
        raise InvalidFilterError(
            f"the filter casts to {node['type_name'][:60]!r}; expected one of "
            f"{', '.join(sorted(set(functions.TYPES.values())))}, or a list of one"
        )
    sizes = [c.get("literal", {}).get("text", "") for c in children]
    if type_ == "DECIMAL" and 1 <= len(sizes) <= 2 and all(s.isdecimal() for s in sizes):
        return f"DECIMAL({', '.join(sizes)})"
    return type_


def _too_deep() -> str:
    return f"the filter is nested more than {MAX_DEPTH} levels deep; write a flatter one"
