"""The planner: every live item is served by exactly one source.

An item's native vector in the ranking space comes first, then a native vector in another
space for which the query brings vectors too, then the best route: a forward map of the
documents into the ranking space (direct before chained), and last a query-side map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final, get_args

from vecstore.catalog import SpaceRecord, TranslatorRecord
from vecstore.errors import InvalidArgumentError, NoRouteError
from vecstore.hits import Provenance
from vecstore.rows import RowSet
from vecstore.snapshot import Snapshot

__all__ = ["Execution", "Plan", "Source", "SourceKind", "make_plan"]

Execution = Literal["rewrite", "fold", "rescore", "query"]
SourceKind = Literal["native", "forward", "query"]

DEFAULT_EXECUTION: Execution = "rewrite"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One way to candidates and the rows it serves.

    Attributes
    ----------
    kind : {"native", "forward", "query"}
        Native vectors compared with native query vectors; documents mapped into the ranking
        space; or the query mapped into the documents' space.
    space : SpaceRecord
        Where the vectors of the rows are stored.
    query_space : str
        Whose query vectors are used.
    rows : RowSet
        Live rows, disjoint from those of every other source of the plan.
    route : tuple of TranslatorRecord
        Applied first to last; empty for native sources.
    execution : {"rewrite", "fold", "rescore", "query"} or None
        How the route runs; None for native sources.
    """

    kind: SourceKind
    space: SpaceRecord
    query_space: str
    rows: RowSet
    route: tuple[TranslatorRecord, ...] = ()
    execution: Execution | None = None

    @property
    def provenance(self) -> Provenance:
        """What a hit of this source says about itself."""
        return Provenance(
            kind="native" if self.kind == "native" else "translated",
            space=self.space.space.name,
            translators=tuple(t.id for t in self.route),
        )

    @property
    def offset(self) -> float:
        """What was learned to be added to the scores of a direct forward map, 0.0 if nothing."""
        if self.kind != "forward" or len(self.route) != 1:
            return 0.0
        learned = self.route[0].report.get("offset")
        return 0.0 if learned is None else float(learned)

    def describe(self) -> str:
        """Return one line for people."""
        if self.kind == "native":
            return f"native in {self.space.space.name}"
        path = " -> ".join([self.route[0].source, *(t.target for t in self.route)])
        families = ", ".join(f"{t.family} {t.id[:8]}" for t in self.route)
        what = "documents" if self.kind == "forward" else "query"
        how = f", {self.execution}" if self.execution else ""
        if self.offset:
            how += f", scores {self.offset:+.3f}"
        return f"{what} translated {path} by {families}{how}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a search will run; ``print`` it.

    Attributes
    ----------
    target : SpaceRecord
        The ranking space.
    sources : tuple of Source
    live : int
        Live items of the collection.
    unserved : RowSet
        Live items that no source serves: without any vector, or in spaces without a route.
    indexes : dict
        Source number to the kind of index that searches part of it; others are exact.
    speedups : dict
        Source number to how many times as fast an index would answer a query, about; where
        exact search is as good, there is none.
    """

    version: int
    target: SpaceRecord
    sources: tuple[Source, ...]
    live: int
    unserved: RowSet
    indexes: dict[int, str] = field(default_factory=dict)
    speedups: dict[int, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "version": self.version,
            "space": self.target.space.name,
            "live": self.live,
            "unserved": len(self.unserved),
            "sources": [
                {
                    "kind": source.kind,
                    "space": source.space.space.name,
                    "rows": len(source.rows),
                    "route": [t.id for t in source.route],
                    "execution": source.execution,
                    "offset": source.offset,
                    "index": self.indexes.get(number, "exact"),
                    "index_speedup": self.speedups.get(number),
                }
                for number, source in enumerate(self.sources)
            ],
        }

    def __str__(self) -> str:
        space = self.target.space
        lines = [f"rank in {space.name}: {space.describe()}; {self.live:,} live items"]
        for number, source in enumerate(self.sources):
            share = len(source.rows) / max(self.live, 1)
            kind = self.indexes.get(number, "exact")
            if number in self.speedups:
                kind += f"; an index would be about {self.speedups[number]:.0f}x as fast"
            lines.append(f"  {len(source.rows):>12,} {share:7.2%}  {source.describe()}  [{kind}]")
        if len(self.unserved):
            share = len(self.unserved) / max(self.live, 1)
            lines.append(
                f"  {len(self.unserved):>12,} {share:7.2%}  not served: no vector or no route"
            )
        return "\n".join(lines)


def make_plan(
    snapshot: Snapshot,
    *,
    target: str,
    query_spaces: Sequence[str],
    execution: Execution | None = None,
    allow_partial: bool = False,
) -> Plan:
    """Assign every live row to its source.

    Parameters
    ----------
    target : str
        The ranking space; must be among ``query_spaces``.
    query_spaces : sequence of str
        Spaces for which the query brings vectors.
    execution : {"rewrite", "fold", "rescore", "query"}, optional
        How forward maps run; "query" prefers query-side maps to them.
    allow_partial : bool
        Accept that items in related spaces without a route are left out.

    Raises
    ------
    NoRouteError
        Items have vectors only in spaces of the same lineage that no translator joins to
        the ranking space, or nothing can be served at all.
    """
    if execution is not None and execution not in get_args(Execution):
        raise InvalidArgumentError(
            f"expected execution to be one of {', '.join(get_args(Execution))}, got {execution!r}"
        )
    record = snapshot.space(target)
    left = snapshot.live
    sources: list[Source] = []

    def serve(kind: SourceKind, space: SpaceRecord, **how: Any) -> None:
        nonlocal left
        rows = snapshot.native(space.space.name) & left
        if len(rows):
            sources.append(Source(kind=kind, space=space, rows=rows, **how))
            left = left - rows

    serve("native", record, query_space=target)
    newest_first = sorted(snapshot.spaces.values(), key=lambda r: -r.generation)
    others = [r for r in newest_first if r.space.name != target]
    for other in others:
        if other.space.name in query_spaces:
            serve("native", other, query_space=other.space.name)
    sides: list[SourceKind] = ["query", "forward"] if execution == "query" else ["forward", "query"]
    for kind in sides:
        for other, route in _routes(snapshot, others, target, kind):
            how = (execution or DEFAULT_EXECUTION) if kind == "forward" else "query"
            if kind == "forward" and how == "query":
                how = DEFAULT_EXECUTION
            serve(kind, other, query_space=target, route=route, execution=how)
    _require_routes(snapshot, record, left, sources, allow_partial=allow_partial)
    return Plan(
        version=snapshot.version,
        target=record,
        sources=tuple(sources),
        live=len(snapshot.live),
        unserved=left,
    )


def shortest_route(snapshot: Snapshot, source: str, target: str) -> tuple[TranslatorRecord, ...]:
    """Return the shortest chain of translators, newest fits preferred; empty if there is none."""
    routes: dict[str, tuple[TranslatorRecord, ...]] = {source: ()}
    frontier = [source]
    newest_first = sorted(snapshot.state.translators, key=lambda t: -t.added_version)
    while frontier and target not in routes:
        reached = []
        for here in frontier:
            for translator in newest_first:
                if translator.source == here and translator.target not in routes:
                    routes[translator.target] = (*routes[here], translator)
                    reached.append(translator.target)
        frontier = reached
    return routes.get(target, ()) if target != source else ()


def _routes(
    snapshot: Snapshot, others: Sequence[SpaceRecord], target: str, kind: SourceKind
) -> list[tuple[SpaceRecord, tuple[TranslatorRecord, ...]]]:
    """Return the spaces that a map of this kind joins to the target, direct routes first."""
    found = []
    for other in others:
        ends = (other.space.name, target)
        route = shortest_route(snapshot, *(ends if kind == "forward" else reversed(ends)))
        if route:
            found.append((other, route))
    return sorted(found, key=lambda f: len(f[1]))


def _require_routes(
    snapshot: Snapshot,
    target: SpaceRecord,
    left: RowSet,
    sources: list[Source],
    *,
    allow_partial: bool,
) -> None:
    """Refuse a search that would leave out a generation without saying so."""
    name = target.space.name
    lineage = _lineage(snapshot, name)
    for other in snapshot.spaces:
        stranded = snapshot.native(other) & left
        if not len(stranded) or other == name:
            continue
        if (other in lineage and not allow_partial) or not sources:
            partial = ", or pass allow_partial=True to search without them" if sources else ""
            raise NoRouteError(
                f"{len(stranded):,} items have vectors in space {other!r} but no translator joins "
                f"{other!r} and {name!r}; embed a sample of them for {name!r} with add_vectors and "
                f"call fit_translator(source={other!r}, target={name!r}){partial}"
            )


def _lineage(snapshot: Snapshot, name: str) -> set[str]:
    """Return all spaces joined to ``name`` by supersedes, itself included."""
    related = {name}
    grown = True
    while grown:
        before = len(related)
        for record in snapshot.state.spaces:
            link = {record.space.name, record.space.supersedes} - {None}
            if link & related:
                related |= link  # type: ignore[arg-type]
        grown = len(related) > before
    return related
