"""What an examination found: findings with a severity, a file and a remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, final

__all__ = ["Diagnosis", "DoctorReport", "Finding", "Severity"]

Severity = Literal["error", "warning", "notice"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be.

    Attributes
    ----------
    severity : {"error", "warning", "notice"}
        An error is damage to what was committed; a warning concerns a cache, whose loss costs
        time only, or the quality of answers; a notice costs space.
    check : str
        Which check found it.
    collection : str or None
        None where the store as a whole is concerned.
    file : str or None
        Path below the data root, or the catalog.
    finding, remedy : str
        What is wrong, and what to do about it.
    repaired : bool
        Whether it has been put right.
    """

    severity: Severity
    check: str
    collection: str | None
    file: str | None
    finding: str
    remedy: str
    repaired: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON."""
        return {
            "severity": self.severity,
            "check": self.check,
            "collection": self.collection,
            "file": self.file,
            "finding": self.finding,
            "remedy": self.remedy,
            "repaired": self.repaired,
        }


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """What an examination looked at and what it found, the worst first.

    Attributes
    ----------
    checks : tuple of str
        What was checked.
    files, bytes : int
        Files whose content was read and verified, and their size.
    """

    findings: tuple[Finding, ...]
    checks: tuple[str, ...]
    files: int
    bytes: int
    seconds: float

    @property
    def healthy(self) -> bool:
        """Whether no error and no warning is left; notices cost space only."""
        return all(f.repaired or f.severity == "notice" for f in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "healthy": self.healthy,
            "findings": [finding.to_dict() for finding in self.findings],
            "checks": list(self.checks),
            "files": self.files,
            "bytes": self.bytes,
            "seconds": self.seconds,
        }


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A finding with its cure, where there is one that loses nothing."""

    finding: Finding
    cure: Callable[[], object] | None = None
