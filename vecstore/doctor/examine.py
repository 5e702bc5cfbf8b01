"""Examinations: every check in turn, then the cures if they are wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from vecstore.catalog import Catalog, CollectionRecord
from vecstore.doctor.caches import (
    check_caches,
    check_indexes,
    check_orphans,
    check_recall,
    check_words,
)
from vecstore.doctor.case import RESTORE, Case
from vecstore.doctor.files import (
    check_content,
    check_files,
    check_purity,
    check_rows,
    check_translators,
)
from vecstore.doctor.report import Diagnosis, DoctorReport, Finding
from vecstore.errors import CorruptFileError, VecstoreError
from vecstore.storage.root import DataRoot

__all__ = ["examine_collection", "examine_store"]

_Check = Callable[[Case], Iterable[Diagnosis]]

# What is damaged is found first: later checks leave it out.
_CHECKS: dict[str, _Check] = {
    "files": check_files,
    "content": check_content,
    "rows": check_rows,
    "translators": check_translators,
    "purity": check_purity,
    "indexes": check_indexes,
    "recall": check_recall,
    "caches": check_caches,
    "words": check_words,
}
_RANK = {"error": 0, "warning": 1, "notice": 2}


def examine_store(
    catalog: Catalog, root: DataRoot, *, repair: bool, grace: timedelta
) -> DoctorReport:
    """Examine the catalog, every collection, and what lies beside them."""
    began = time.monotonic()
    own = list(_check_catalog(catalog))
    reports: list[DoctorReport] = []
    try:
        reports.extend(
            examine_collection(catalog, root, record, repair=repair, grace=grace)
            for record in catalog.collections()
        )
        own.extend(_check_strays(catalog, root, grace))
    except CorruptFileError:
        if not own:
            raise
    findings = [*_treated(own, repair), *(f for report in reports for f in report.findings)]
    return DoctorReport(
        findings=_worst_first(findings),
        checks=("catalog", *_CHECKS, "orphans"),
        files=sum(report.files for report in reports),
        bytes=sum(report.bytes for report in reports),
        seconds=time.monotonic() - began,
    )


def examine_collection(
    catalog: Catalog, root: DataRoot, record: CollectionRecord, *, repair: bool, grace: timedelta
) -> DoctorReport:
    """Examine one collection: all its versions' files, and the newest version's rows."""
    began = time.monotonic()
    case = Case.open(catalog, root, record)
    diagnoses: list[Diagnosis] = []
    checks: dict[str, Callable[[Case], Iterable[Diagnosis]]] = {
        **_CHECKS,
        "orphans": partial(check_orphans, grace=grace),
    }
    for name, check in checks.items():
        try:
            diagnoses.extend(check(case))
        except CorruptFileError as error:
            # Whatever needs a file that is known to be damaged cannot be checked.
            if not case.damaged:
                diagnoses.append(case.diagnosis("error", name, None, str(error), RESTORE))
    return DoctorReport(
        findings=_worst_first(_treated(diagnoses, repair)),
        checks=tuple(checks),
        files=len(case.read),
        bytes=sum(case.read.values()),
        seconds=time.monotonic() - began,
    )


def _check_catalog(catalog: Catalog) -> Iterator[Diagnosis]:
    """Ask the database whether its file is whole."""
    for line in catalog.damage():
        yield Diagnosis(
            finding=Finding(
                severity="error",
                check="catalog",
                collection=None,
                file=catalog.location,
                finding=line,
                remedy="restore the catalog from a backup",
            )
        )


def _check_strays(catalog: Catalog, root: DataRoot, grace: timedelta) -> Iterator[Diagnosis]:
    """Find files of collections that are gone; a drop that was killed leaves them."""
    found = list(root.found("data"))
    # Asked after the files: a collection that is created meanwhile is known by then.
    known = {record.directory for record in catalog.collections()}
    before = datetime.now(UTC) - grace
    for file in found:
        parts = file.path.split("/")
        if parts[1] in known or file.modified >= before:
            continue
        yield Diagnosis(
            finding=Finding(
                severity="notice",
                check="orphans",
                collection=None,
                file=file.path,
                finding=f"no collection has the folder {parts[1]!r}; {file.size} bytes",
                remedy="remove it",
            ),
            cure=partial(root.remove, file.path),
        )


def _treated(diagnoses: Sequence[Diagnosis], repair: bool) -> Iterator[Finding]:
    """Apply the cures there are; what a cure could not do stays a finding."""
    for diagnosis in diagnoses:
        finding = diagnosis.finding
        if repair and diagnosis.cure is not None:
            try:
                diagnosis.cure()
            except VecstoreError as error:
                finding = replace(finding, remedy=f"{finding.remedy}; it was tried: {error}")
            else:
                finding = replace(finding, repaired=True)
        yield finding


def _worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: (_RANK[f.severity], f.check, f.file or "")))
