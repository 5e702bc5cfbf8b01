"""How coverage has grown: read from the files of a version, which say when they were added."""

from __future__ import annotations

from collections.abc import Sequence

from vecstore.catalog import VersionRecord
from vecstore.snapshot import Snapshot
from vecstore.upgrade.assessment import CoveragePoint

__all__ = ["coverage_history"]


def coverage_history(
    snapshot: Snapshot, spaces: Sequence[str], versions: Sequence[VersionRecord]
) -> tuple[CoveragePoint, ...]:
    """Return a point for each commit that added vectors which still live, oldest first."""
    committed = {record.version: record.committed_at for record in versions}
    points = []
    for space in spaces:
        grown: dict[int, int] = {}
        for vectors in snapshot.vectors(space):
            added = vectors.record.added_version
            grown[added] = grown.get(added, 0) + len(vectors.live_row_ids)
        native = 0
        for version in sorted(grown):
            native += grown[version]
            if version in committed:
                points.append(
                    CoveragePoint(
                        at=committed[version],
                        version=version,
                        space=space,
                        native=native,
                        items=len(snapshot.live),
                    )
                )
    return tuple(sorted(points, key=lambda point: (point.version, point.space)))
