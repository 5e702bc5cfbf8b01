"""Choice: which files compaction rewrites together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import final

from vecstore.arguments import TARGET_BYTES
from vecstore.errors import InvalidArgumentError
from vecstore.housekeeping.segments import Pile, Segment

__all__ = ["Everything", "SmallFirst"]

_SMALLEST_TIER_BYTES = 64 << 10
_TIER_FACTOR = 8


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """All small files, and those of which much is dead: what a person asks for.

    Attributes
    ----------
    target_bytes : int
        Size of the files to make. Those of at least half of it are left alone, so that
        compacting again costs nothing.
    dead_share : float
        From this share of dead rows on a file is rewritten, whatever its size.
    """

    target_bytes: int = TARGET_BYTES
    dead_share: float = 0.2

    def __post_init__(self) -> None:
        if self.target_bytes < 1:
            raise InvalidArgumentError(
                f"expected target_bytes of at least 1, got {self.target_bytes}"
            )
        if not 0 <= self.dead_share <= 1:
            raise InvalidArgumentError(
                f"expected dead_share between 0 and 1, got {self.dead_share}"
            )

    def groups(self, pile: Pile) -> list[list[Segment]]:
        """Return files to be merged, group by group."""
        chosen = {
            s.record.id
            for s in pile.segments
            if s.record.file.size < self.target_bytes // 2 or self._is_dead(s)
        }
        groups = _neighbours(pile.segments, chosen, self.target_bytes)
        return [g for g in groups if len(g) > 1 or self._is_dead(g[0])]

    def folds(self, pile: Pile) -> bool:
        """Say whether delete files are to be looked at."""
        return bool(pile.deletes)

    def _is_dead(self, segment: Segment) -> bool:
        return segment.live < segment.record.rows and segment.dead_share >= self.dead_share


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SmallFirst:
    """Files of a similar size once there are many: what happens by itself.

    A row is rewritten once for each eightfold growth of its file at the most, so that small
    commits cost a constant factor and not more with every one of them.

    Attributes
    ----------
    files : int
        How many make a merge worth while.
    """

    files: int
    target_bytes: int = TARGET_BYTES

    def groups(self, pile: Pile) -> list[list[Segment]]:
        """Return files to be merged, group by group."""
        small = [s for s in pile.segments if s.record.file.size < self.target_bytes // 2]
        tiers = Counter(map(_tier, small))
        count = 0
        for tier in sorted(tiers):
            count += tiers[tier]
            if count >= self.files:
                chosen = {s.record.id for s in small if _tier(s) <= tier}
                groups = _neighbours(pile.segments, chosen, self.target_bytes)
                return [group for group in groups if len(group) > 1]
        return []

    def folds(self, pile: Pile) -> bool:
        """Say whether delete files are to be looked at."""
        return len(pile.deletes) >= self.files


def _tier(segment: Segment) -> int:
    size, tier = segment.record.file.size, 0
    while size > _SMALLEST_TIER_BYTES:
        size, tier = size // _TIER_FACTOR, tier + 1
    return tier


def _neighbours(
    segments: Sequence[Segment], chosen: Collection[str], target_bytes: int
) -> list[list[Segment]]:
    """Group chosen files that follow each other, so that ranges of row ids stay disjoint."""
    groups: list[list[Segment]] = [[]]
    size = 0
    for segment in segments:
        if segment.record.id not in chosen:
            groups.append([])
            size = 0
            continue
        if groups[-1] and size + segment.live_bytes > target_bytes:
            groups.append([])
            size = 0
        groups[-1].append(segment)
        size += segment.live_bytes
    return [group for group in groups if group]
