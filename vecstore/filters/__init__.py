"""Metadata filters: a ``where`` in, the row ids it selects out.

Room: vecstore. The only place that imports DuckDB. ``predicate`` is the door: it turns SQL text
(``sql``) or a Mongo-style dictionary (``mongo``) into a validated `Predicate`; ``engine`` runs
one over Arrow tables on a locked-down DuckDB; ``functions``, ``patterns`` and ``columns`` say
what a predicate may call, match and read.
"""

from vecstore.filters.engine import select_rows
from vecstore.filters.predicate import Predicate, Where, parse_where

__all__ = ["Predicate", "Where", "parse_where", "select_rows"]
