"""What is shipped: the wheel's contents, its metadata, and the pins it is checked with."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import vecstore

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DEMO = ROOT / "data" / "demo"
PACKAGES = [
    ROOT / folder for folder in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel with the backend of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
        timeout=120,
    )
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


# ------------------------------------------------------------------ the wheel


def test_the_wheel_holds_the_four_packages_and_their_demo_data(wheel: zipfile.ZipFile) -> None:
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(package.parent))
        for package in PACKAGES
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert shipped == expected
    assert {f"vecstore_cli/demo_data/{path.name}" for path in DEMO.iterdir()} <= shipped
    assert {f"{package.name}/py.typed" for package in PACKAGES} <= shipped


def test_the_wheel_carries_licence_and_notice(wheel: zipfile.ZipFile) -> None:
    texts = {
        Path(name).name: wheel.read(name).decode("utf-8")
        for name in wheel.namelist()
        if "/licenses/" in name
    }
    assert set(texts) == {"LICENSE", "NOTICE"}
    assert "Apache License" in texts["LICENSE"]
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in texts["NOTICE"]


def test_the_wheel_names_version_command_and_extras(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode("utf-8"))
    entry_points = wheel.read(f"{info}/entry_points.txt").decode("utf-8")
    assert metadata["Version"] == vecstore.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == {
        "ann-benchmarks", "cpu", "dev", "gpu", "openai", "postgres", "sentence-transformers",
        "train",
    }  # fmt: skip
    assert "vecstore = vecstore_cli.main:main" in entry_points


def test_the_core_needs_neither_torch_nor_faiss() -> None:
    core = {Requirement(line).name for line in PROJECT["project"]["dependencies"]}
    assert core == {
        "click", "duckdb", "jinja2", "numpy", "pyarrow", "rich", "safetensors", "sqlalchemy",
        "tantivy", "xxhash",
    }  # fmt: skip


# ------------------------------------------------------------------ the pins


def test_every_requirement_is_pinned_within_its_range() -> None:
    project = PROJECT["project"]
    lines = [*project["dependencies"], *PROJECT["build-system"]["requires"]]
    lines += [line for extra in project["optional-dependencies"].values() for line in extra]
    for requirement in map(Requirement, lines):
        pin = pins().get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is missing: run `make constraints`"
        assert requirement.specifier.contains(pin), f"{requirement} does not admit {pin}"


def test_torch_is_pinned_without_a_build_of_its_own() -> None:
    assert pins()["torch"] == Version("2.13.0")
    assert all(version.local is None for version in pins().values())


def test_no_configuration_names_a_host_or_a_path_of_one_machine() -> None:
    for name in ("pyproject.toml", "constraints.txt", "Makefile", ".ci/run"):
        text = (ROOT / name).read_text("utf-8")
        assert not re.search(r"https?:|file:|--(extra-)?index-url|--find-links", text), name
