"""Case: one collection as an examination sees it, opened anew and never through its caches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from vecstore.catalog import Catalog, CollectionRecord, FileRecord, History, IndexRecord
from vecstore.doctor.report import Diagnosis, Finding, Severity
from vecstore.errors import VecstoreError
from vecstore.segment_cache import SegmentCache
from vecstore.snapshot import Snapshot
from vecstore.storage.root import DataRoot, StoredFile
from vecstore.translation import Translators

__all__ = ["Case"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A collection to be examined.

    Attributes
    ----------
    history : History
        What any version refers to.
    snapshot : Snapshot
        The newest version.
    damaged : set of str
        Paths of files that were found damaged; what is made of them need not be looked at.
    read : dict of str to int
        Files that were read and verified, with their size.
    """

    catalog: Catalog
    root: DataRoot
    record: CollectionRecord
    history: History
    snapshot: Snapshot
    indexes: tuple[IndexRecord, ...]
    translators: Translators
    damaged: set[str] = field(default_factory=set)
    read: dict[str, int] = field(default_factory=dict)

    @classmethod
    def open(cls, catalog: Catalog, root: DataRoot, record: CollectionRecord) -> Case:
        """Read the catalog's records; the files are left to the checks."""
        return cls(
            catalog=catalog,
            root=root,
            record=record,
            # The newest version first: what is committed after it is in the history as well.
            snapshot=Snapshot(catalog.state(record.id), SegmentCache(root)),
            history=catalog.history(record.id),
            indexes=tuple(catalog.indexes(record.id)),
            translators=Translators(root),
        )

    @property
    def folder(self) -> str:
        """Where the collection's files are, below the data root."""
        return f"data/{self.record.directory}"

    def registered(self) -> dict[str, StoredFile]:
        """Return every file that a version or an index refers to, by path."""
        files = [file.file for file in self.history.files]
        files += [file for t in self.history.translators for file in t.files.values()]
        files += [index.file for index in self.indexes]
        return {file.path: file for file in files}

    def whole(self, *files: FileRecord) -> bool:
        """Say whether none of some files was found damaged."""
        return all(file.file.path not in self.damaged for file in files)

    def diagnosis(
        self,
        severity: Severity,
        check: str,
        file: str | None,
        finding: str,
        remedy: str,
    ) -> Diagnosis:
        """Return a finding about this collection, without a cure."""
        return Diagnosis(
            finding=Finding(
                severity=severity,
                check=check,
                collection=self.record.name,
                file=file,
                finding=finding,
                remedy=remedy,
            )
        )

    def damage(self, check: str, file: str, error: VecstoreError | str) -> Diagnosis:
        """Return a finding of damage to what was committed."""
        self.damaged.add(file)
        return self.diagnosis("error", check, file, str(error), RESTORE)


RESTORE = "restore the file from a backup; nothing else has its content"
