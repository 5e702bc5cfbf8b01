"""The rooms: what each package may load when it is imported, and the shape it keeps on disk.

What is optional or heavy is loaded when it is used, not before. Each import is checked in a process
of its own, because this one has everything loaded already. Which room may name which library at
all is import-linter's part (`make check`).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
ROOMS = {
    Path(folder).name: ROOT / folder
    for folder in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
}
MODULES = sorted(path for folder in ROOMS.values() for path in folder.rglob("*.py"))
# Optional extras, and what only the tests may use.
HEAVY = (
    "faiss", "h5py", "httpx2", "hypothesis", "ir_measures", "matplotlib", "numba", "ot", "pandas",
    "psycopg", "pytest", "ranx", "scipy", "sentence_transformers", "sklearn", "torch",
    "transformers",
)  # fmt: skip


def modules_of(package: str) -> list[str]:
    """Name every module of a package, the package itself first."""
    folder = ROOMS[package]
    names = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return sorted(names)


def run(code: str) -> str:
    """Run Python code in a fresh interpreter, warnings as errors; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules_after(code: str) -> set[str]:
    """Return all modules that are loaded once the code has run, by their full names."""
    return set(json.loads(run(f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")))


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that are loaded once the statement has run."""
    return {name.partition(".")[0] for name in modules_after(statement)}


@pytest.mark.parametrize("package", ROOMS)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    loaded = loaded_by(f"import {package}")
    assert package in loaded
    assert sorted(loaded & set(HEAVY)) == []


def test_importing_the_translators_loads_arrays_and_nothing_else_of_ours() -> None:
    loaded = loaded_by("import vecstore_translators")
    others = {"click", "duckdb", "pyarrow", "rich", "sqlalchemy", "vecstore", "vecstore_ingest"}
    assert sorted(loaded & others) == []


def test_importing_the_database_loads_no_room_above_it() -> None:
    loaded = loaded_by("import vecstore")
    assert sorted(loaded & {"click", "rich", "vecstore_cli", "vecstore_ingest"}) == []


@pytest.mark.parametrize("package", ROOMS)
def test_every_module_imports_where_the_extras_are_absent(package: str) -> None:
    # A module set to None in sys.modules raises ImportError on import: a machine without it.
    # `testing` holds the contract suites for authors of plug-ins, who have pytest.
    modules = [name for name in modules_of(package) if ".testing" not in name]
    assert package in modules
    run(
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({HEAVY!r}))\n"
        f"for name in {modules!r}: importlib.import_module(name)"
    )


def test_the_check_sees_a_heavy_import() -> None:
    assert "sklearn" in loaded_by("import sklearn") & set(HEAVY)


def test_libraries_named_by_a_string_keep_to_their_rooms() -> None:
    # import-linter reads import statements; this reads import_module("...").
    rooms = {"faiss": "vecstore/indexes/", "duckdb": "vecstore/filters/"}
    rooms |= {"sqlalchemy": "vecstore/catalog/", "click": "cli/", "rich": "cli/"}
    strays = [
        (str(path.relative_to(ROOT)), name)
        for path in MODULES
        for name in re.findall(r"import_module\(\s*[\"'](\w+)", path.read_text("utf-8"))
        if name in HEAVY or name in rooms
        if not str(path.relative_to(ROOT)).startswith(rooms.get(name, "nowhere"))
    ]
    assert strays == []


def test_the_fixed_folders_are_no_packages_themselves() -> None:
    assert [
        name for name in ("translators", "ingest", "cli") if (ROOT / name / "__init__.py").exists()
    ] == []


@pytest.mark.parametrize("package", ROOMS)
def test_every_folder_of_modules_is_a_package(package: str) -> None:
    # A forgotten __init__.py makes a namespace package, which ships but hides from type checkers.
    folders = {path.parent for path in ROOMS[package].rglob("*.py")} | {ROOMS[package]}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_a_module_fits_in_the_head() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in MODULES
        if (lines := len(path.read_text("utf-8").splitlines())) > 400
    }
    assert long == {}


def test_no_module_is_a_drawer() -> None:
    drawers = {"common", "helpers", "manager", "managers", "misc", "util", "utils"}
    assert [str(path.relative_to(ROOT)) for path in MODULES if path.stem in drawers] == []


# What verbs do that are called once in a while: imported by those that call them.
VERBS = (
    "vecstore.backup", "vecstore.building", "vecstore.doctor", "vecstore.filters.mongo",
    "vecstore.filters.sql", "vecstore.fitting", "vecstore.gpu", "vecstore.housekeeping.compaction",
    "vecstore.housekeeping.garbage", "vecstore.housekeeping.retention", "vecstore.indexing",
    "vecstore.storage.remote", "vecstore.tuning.auto", "vecstore.tuning.measure",
    "vecstore.upgrade.assessment", "vecstore.upgrade.backfill", "vecstore.upgrade.refit",
    "vecstore.upgrade.report", "vecstore.upgrade.retirement", "vecstore_translators.composition",
    "vecstore_translators.evaluation", "vecstore_translators.registry",
    "vecstore_translators.selection",
)  # fmt: skip
FIRST_STORE = """
import vecstore
with vecstore.open({place!r}) as store:
    docs = store.create_collection('docs')
    docs.create_space('v1', dim=3)
    docs.upsert(ids=['a', 'b'], vectors=[[1, 0, 0], [0, 1, 0]])
"""


def within(modules: set[str], rooms: tuple[str, ...]) -> list[str]:
    """Return the modules that are one of these, or below one."""
    return sorted(name for name in modules if f"{name}.".startswith(tuple(f"{r}." for r in rooms)))


def test_opening_and_searching_a_store_loads_nothing_that_a_native_search_needs_not(
    tmp_path,
) -> None:
    run(FIRST_STORE.format(place=str(tmp_path)))
    # Closing is part of it: what searches returned is written then.
    loaded = modules_after(
        "import vecstore\n"
        f"with vecstore.open({str(tmp_path)!r}) as store:\n"
        "    hits = store.collection('docs').search([0, 1, 0], k=1)\n"
        "    assert [hit.id for hit in hits] == ['b']\n"
    )
    unneeded = ("duckdb", "pandas", "pyarrow.compute", "torch", "vecstore.guards", *VERBS)
    assert within(loaded, unneeded) == []


def test_the_modules_that_must_not_be_loaded_are_there() -> None:
    assert sorted(set(VERBS) - {name for package in ROOMS for name in modules_of(package)}) == []


def test_a_write_loads_its_guards_and_no_other_verb(tmp_path) -> None:
    loaded = modules_after(FIRST_STORE.format(place=str(tmp_path)))
    assert within(loaded, ("duckdb", *VERBS)) == []
    assert within(loaded, ("vecstore.guards",)) != []


def test_writing_new_items_loads_neither_compute_functions_nor_masked_arrays(tmp_path) -> None:
    # A tenth of a second of the first writes; the second one learns what the space looks like.
    loaded = modules_after(
        "import vecstore, numpy as np\n"
        f"with vecstore.open({str(tmp_path)!r}) as store:\n"
        "    docs = store.create_collection('docs')\n"
        "    docs.create_space('v1', dim=50)\n"
        "    for name in 'ab':\n"
        "        docs.upsert(ids=[f'{name}{n}' for n in range(50)], vectors=np.eye(50),\n"
        "                    metadata={'n': np.arange(50), 's': ['x'] * 50})\n"
    )
    assert within(loaded, ("numpy.ma", "pyarrow.compute")) == []
    assert "vecstore_translators.signature" in loaded


def test_names_that_are_imported_when_they_are_used_are_there_before() -> None:
    run(
        "import sys, vecstore\n"
        "assert 'vecstore.backup' not in sys.modules\n"
        "assert set(vecstore.__all__) <= set(dir(vecstore))\n"
        "assert not hasattr(vecstore, 'backups')\n"
        "from vecstore import *\n"
        "assert restore is vecstore.restore is sys.modules['vecstore.backup'].restore\n"
        "assert issubclass(SuspiciousVectorsWarning, UserWarning)\n"
    )


def test_writing_reading_and_filtering_load_nothing_heavy_that_is_installed(tmp_path) -> None:
    # pyarrow imports pandas in many of its functions, wherever it is installed.
    loaded = loaded_by(
        "import numpy as np\n"
        "import vecstore\n"
        f"with vecstore.open({str(tmp_path)!r}, compact_after=2) as store:\n"
        "    docs = store.create_collection('docs')\n"
        "    docs.create_space('v1', dim=3)\n"
        "    rows = {'vectors': np.eye(3), 'documents': ['one', None, 'three']}\n"
        "    for _ in range(3):\n"
        "        docs.upsert(ids=['a', 'b', 'c'], metadata={'n': [1, 2, None]}, **rows)\n"
        "    docs.upsert(ids=['d', 'e', 'f'], metadata=[{'s': 'x'}, {'t': 0.5}, {}], **rows)\n"
        "    docs.delete(['f'])\n"
        "    assert docs.get('b', spaces=['v1']).metadata['n'] == 2\n"
        "    [batch] = docs.scan(spaces=['v1'])\n"
        "    assert batch.num_rows == docs.search(np.eye(3), k=9).to_arrow().num_rows // 3 == 5\n"
        "    assert docs.search([0, 1, 0], where='n > 1').ids == ['b']\n"
        "    assert docs.search([0, 1, 0], where={'s': 'x'})[0].document == 'one'\n"
        "    assert docs.search([0, 1, 0], text='three', k=1).ids == ['c']\n"
    )
    assert sorted(loaded & (set(HEAVY) - {"faiss"})) == []
