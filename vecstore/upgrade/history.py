"""How coverage has grown: read from the vectors of a version, which say when they were written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

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
        grown: Counter[int] = Counter()
        for vectors in snapshot.vectors(space):
            written, rows = np.unique(vectors.live_versions, return_counts=True)
            grown.update(dict(zip(written.tolist(), rows.tolist(), strict=True)))
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
