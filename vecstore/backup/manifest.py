"""The manifest: what a backup consists of, written last, under a name that proves its content.

A backup lies in one folder of its place::

    vecstore-backup/manifest-00000001-CHECKSUM.json    the catalog's rows
    vecstore-backup/data/...                           files, as they lie in the data root

A manifest never changes, and the highest number is the backup. So an interrupted backup has no
manifest of its own, and leaves the one before it whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, final

from vecstore._version import __version__
from vecstore.catalog.portable import SCHEMA_VERSION, Rows
from vecstore.errors import CorruptFileError, NotFoundError, SchemaVersionError
from vecstore.storage.root import DataRoot, StoredFile, checksum

__all__ = [
    "FOLDER",
    "Manifest",
    "find_manifest",
    "new_manifest",
    "read_manifest",
    "stored",
    "write_manifest",
]

FOLDER: Final = "vecstore-backup"
FORMAT: Final = 1
_NAME = re.compile(rf"{FOLDER}/manifest-(\d{{8}})-([0-9a-f]{{32}})\.json")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup consists of.

    Attributes
    ----------
    rows : Rows
        Of the catalog's tables.
    made_at : datetime
        In UTC.
    version : str
        The vecstore that made it.
    """

    rows: Rows
    made_at: datetime
    version: str

    @property
    def collections(self) -> dict[str, int]:
        """Names and versions."""
        return {row["name"]: row["version"] for row in self.rows["collections"]}

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """The files that versions consist of, at their paths in a data root."""
        translators = [f for row in self.rows["translators"] for f in row["files"].values()]
        return tuple(map(_file, (*self.rows["files"], *translators)))

    @property
    def indexes(self) -> tuple[StoredFile, ...]:
        """The files of indexes, which can be built again."""
        return tuple(map(_file, self.rows["indexes"]))

    def without_indexes(self, paths: set[str]) -> Manifest:
        """Return the manifest without the indexes at some paths."""
        kept = [row for row in self.rows["indexes"] if row["path"] not in paths]
        return replace(self, rows={**self.rows, "indexes": kept})


def stored(file: StoredFile) -> StoredFile:
    """Return a file of a data root as it lies in a backup."""
    return replace(file, path=f"{FOLDER}/{file.path}")


def new_manifest(rows: Rows) -> Manifest:
    """Return the manifest of rows that were read now."""
    return Manifest(rows=rows, made_at=datetime.now(UTC), version=__version__)


def find_manifest(place: DataRoot) -> tuple[int, StoredFile] | None:
    """Return number and file of the newest manifest, or None."""
    found = [
        (int(match[1]), StoredFile(path=file.path, size=file.size, checksum=match[2]))
        for file in place.found(FOLDER)
        if (match := _NAME.fullmatch(file.path))
    ]
    return max(found, key=lambda pair: pair[0], default=None)


def write_manifest(place: DataRoot, manifest: Manifest, number: int) -> StoredFile:
    """Make the backup valid: write its manifest."""
    values = {
        "format": FORMAT,
        "schema": SCHEMA_VERSION,
        "vecstore": manifest.version,
        "made_at": manifest.made_at.isoformat(),
        "tables": manifest.rows,
    }
    content = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    path = f"{FOLDER}/manifest-{number:08d}-{checksum(content)}.json"
    return place.write(path, lambda sink: sink.write(content))


def read_manifest(place: DataRoot) -> tuple[int, StoredFile, Manifest]:
    """Return number, file and content of the newest manifest.

    Raises
    ------
    NotFoundError
        There is none: no backup, or one that was interrupted.
    CorruptFileError
        It is damaged.
    SchemaVersionError
        Another vecstore made it, with a format or a schema that this one does not restore.
    """
    found = find_manifest(place)
    if found is None:
        begun = next(iter(place.found(FOLDER)), None) is not None
        raise NotFoundError(
            f"the backup at {place.shown} was interrupted before it was complete; run "
            "`vecstore backup` with the same place again, which goes on where it stopped"
            if begun
            else f"there is no backup at {place.shown}; make one with `vecstore backup`"
        )
    number, file = found
    values = json.loads(place.map(file).to_pybytes())
    _require_known(values, place.shown)
    try:
        manifest = Manifest(
            rows=values["tables"],
            made_at=datetime.fromisoformat(values["made_at"]),
            version=values["vecstore"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(
            f"{place.shown}: {file.path} is no manifest; use another backup"
        ) from error
    return number, file, manifest


def _require_known(values: Mapping[str, Any], shown: str) -> None:
    for what, known in (("format", FORMAT), ("schema", SCHEMA_VERSION)):
        got = values.get(what)
        if got != known:
            older = isinstance(got, int) and got < known
            raise SchemaVersionError(
                f"the backup at {shown} has {what} version {got}, made by vecstore "
                f"{values.get('vecstore')}; vecstore {__version__} restores version {known}. "
                + (
                    "Restore it with that vecstore, and open the store with this one"
                    if older
                    else "Upgrade vecstore"
                )
            )


def _file(row: Mapping[str, Any]) -> StoredFile:
    return StoredFile(path=row["path"], size=row["size"], checksum=row["checksum"])
