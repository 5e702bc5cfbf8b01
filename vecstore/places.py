"""Where a store is: a folder for everything, or a database and a data root."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import final

from vecstore.errors import InvalidArgumentError, StorageError
from vecstore.storage.durable import make_folder

__all__ = ["StorePlace", "located"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlace:
    """The catalog's URL, the data root, and the folder of a catalog that is a file in one."""

    url: str
    data: str | os.PathLike[str]
    folder: Path | None

    @property
    def exists(self) -> bool:
        """Whether there may be a store; only a database itself can say whether it has one."""
        return self.folder is None or (self.folder / "catalog.db").is_file()

    def prepare(self) -> None:
        """Make the folder.

        Raises
        ------
        StorageError
            The file system refused.
        """
        if self.folder is None:
            return
        try:
            make_folder(self.folder.absolute())
        except OSError as error:
            raise StorageError(f"cannot create store {self.folder}: {error.strerror}") from error


def located(
    place: str | os.PathLike[str], data: str | os.PathLike[str] | None = None
) -> StorePlace:
    """Read what a user says of a store's place; see :func:`vecstore.open`.

    Raises
    ------
    InvalidArgumentError
        A database was named without a data root.
    """
    text = os.fspath(place)
    if "://" in text:
        if data is None:
            raise InvalidArgumentError(
                "a store whose catalog is a database needs data=, the folder for its files"
            )
        return StorePlace(url=text, data=data, folder=None)
    folder = Path(text)
    url = f"sqlite:///{(folder / 'catalog.db').absolute()}"
    return StorePlace(url=url, data=data or folder, folder=folder)
