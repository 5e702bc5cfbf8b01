"""Bounds on regular expressions and LIKE patterns, checked before any row is read.

RE2 never backtracks, but its slow path costs (size of the compiled program) x (length of the
text), and counted repetition makes programs large: ``([ab]{30}){30}c`` needs five seconds for
one megabyte. The size is therefore estimated from the pattern and bounded.
"""

from __future__ import annotations

import re

from vecstore.errors import InvalidFilterError

__all__ = ["MAX_PATTERN_LENGTH", "MAX_REGEX_COST", "check_like", "check_regex"]

MAX_PATTERN_LENGTH = 1_000
"""Characters of a LIKE pattern or regular expression."""

MAX_REGEX_COST = 2_000
"""Estimated states of a regular expression, counted repetitions written out."""

_CLASS_COST = 4  # a set or a dot is several byte ranges in UTF-8
_PROPERTY_COST = 100  # \pL and its like are hundreds

_TOKEN = re.compile(
    r"(?P<property>\\[pP](?:\{[^}]*\}|.))"
    r"|(?P<literal>\\x\{[^}]*\}|\\Q.*?(?:\\E|$)|\\.)"
    r"|(?P<set>\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\.)"
    r"|(?P<open>\((?:\?(?:P?<\w+>|[a-zA-Z-]*:?))?)"
    r"|(?P<close>\))"
    r"|(?P<count>\{(?P<least>\d+)(?P<comma>,)?(?P<most>\d*)\})"
    r"|(?P<other>.)",
    re.DOTALL,
)


def check_like(pattern: str) -> None:
    """Refuse a LIKE pattern that is too long."""
    _check_length(pattern, "LIKE pattern")


def check_regex(pattern: str) -> None:
    """Refuse a regular expression that is too long or expands to too many states.

    Raises
    ------
    InvalidFilterError
    """
    _check_length(pattern, "regular expression")
    cost = regex_cost(pattern)
    if cost > MAX_REGEX_COST:
        raise InvalidFilterError(
            f"the regular expression expands to about {cost} states, expected at most "
            f"{MAX_REGEX_COST}; write smaller counted repetitions"
        )


def regex_cost(pattern: str) -> int:
    """Estimate the states of a pattern, counted repetitions written out.

    Examples
    --------
    >>> regex_cost("abc"), regex_cost("a{50}"), regex_cost("((ab){10}){10}")
    (3, 50, 200)
    """
    groups: list[list[int]] = [[]]  # per open group: the cost of each element so far
    for token in _TOKEN.finditer(pattern):
        kind = token.lastgroup
        if kind == "open":
            groups.append([])
        elif kind == "close" and len(groups) > 1:
            inner = sum(groups.pop())
            groups[-1].append(max(inner, 1))
        elif token["count"] is not None and groups[-1]:
            groups[-1][-1] *= max(int(token["least"][:6]), int((token["most"] or "0")[:6]), 1)
        elif kind == "property":
            groups[-1].append(_PROPERTY_COST)
        elif kind == "set":
            groups[-1].append(_CLASS_COST)
        elif kind == "literal":
            groups[-1].append(len(token[0]))
        elif token[0] not in "*+?|^$":
            groups[-1].append(1)
    return sum(map(sum, groups))


def _check_length(pattern: str, what: str) -> None:
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise InvalidFilterError(
            f"the {what} has {len(pattern)} characters, expected at most {MAX_PATTERN_LENGTH}"
        )
