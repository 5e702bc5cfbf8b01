"""Which spaces are due for an index: where scanning what no index has is slower than an index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from vecstore.catalog import IndexRecord
from vecstore.snapshot import Snapshot
from vecstore.tuning.advice import expected_speedup
from vecstore.tuning.auto import AUTO
from vecstore.tuning.candidates import candidates

__all__ = ["IndexOrder", "due_indexes"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOrder:
    """An index to be built over a space's own vectors; arguments as ``build_index`` takes them."""

    space: str
    kind: str = AUTO
    parameters: Mapping[str, Any] = field(default_factory=dict)
    recall: float | None = None
    memory_limit: int | None = None


def due_indexes(
    snapshot: Snapshot, indexes: Sequence[IndexRecord], *, since: int = -1
) -> Iterator[IndexOrder]:
    """Yield what is to be built, in the order of the spaces.

    Parameters
    ----------
    since : int
        Only spaces that have live vectors written after this version.
    """
    for name, record in snapshot.spaces.items():
        present = next((i for i in indexes if i.view == (name, None, None)), None)
        if present is not None and present.space_id != record.id:
            present = None
        covered = -1 if present is None else present.version
        written = [v.live_versions for v in snapshot.vectors(name)]
        beyond = sum(int((versions > covered).sum()) for versions in written)
        untouched = not any((versions > since).any() for versions in written)
        if untouched or expected_speedup(beyond, record.space.dim) < 1:
            continue
        order = IndexOrder(space=name) if present is None else _again(present)
        # What outgrew its memory limit stays: the limit was somebody's, and so is the next one.
        if candidates(len(snapshot.native(name)), record.space.dim, order.memory_limit):
            yield order


def _again(present: IndexRecord) -> IndexOrder:
    """Return the order that an index was built by, to the same target."""
    report = present.report
    chosen = bool(report.get("chosen"))
    return IndexOrder(
        space=present.space,
        kind=AUTO if chosen else present.kind,
        parameters={} if chosen else present.parameters,
        recall=report.get("target"),
        memory_limit=report.get("memory_limit"),
    )
