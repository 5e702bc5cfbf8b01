# Every target bootstraps .venv from a bare Python 3.11 and installs only when pyproject.toml or
# constraints.txt changed. CI runs exactly these targets (.ci/run).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
PACKAGES := vecstore translators/vecstore_translators ingest/vecstore_ingest cli/vecstore_cli

# The first interpreter that is new enough and can build a virtual environment.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
    "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
    >/dev/null 2>&1 && echo "$$python" && break; done)

PIP_INSTALL = $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# The CPU build of this version is what the suite is checked against; GPUs take the same version.
TORCH := 2.13.0

# Tests run in as many processes as there are cores, each with one thread for linear algebra: more
# threads than cores make small factorisations ten times slower.
JOBS ?= $(shell nproc)
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS)

# Extra words for pytest, as in `make test ARGS="-k filters -x"`.
ARGS ?=

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

# ------------------------------------------------------------------ environment

# Stamps instead of the environment's own files: an interrupted step leaves none and runs again.
$(VENV)/.made:
	@if [[ -z "$(PYTHON)" ]] || ! "$(PYTHON)" -c 'import venv, ensurepip' >/dev/null 2>&1; then \
	  echo "make: expected Python 3.11 or newer with its venv module, found: \
	$$(command -v python3 >/dev/null && python3 --version || echo 'no python3')." >&2; \
	  echo "make: on Debian and Ubuntu 'apt install python3-venv' adds the module;" \
	    "'make PYTHON=/path/to/python3.11 ...' chooses an interpreter." >&2; \
	  exit 1; fi
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@

# The light set: core and faiss-cpu. hatchling comes first so that the build needs no second,
# unpinned environment.
$(VENV)/.light: pyproject.toml constraints.txt $(VENV)/.made
	@echo "Installing the light set into $(VENV): about 120 MB, once."
	@$(PIP_INSTALL) hatchling
	@$(PIP_INSTALL) --no-build-isolation --editable '.[cpu]'
	@touch $@

# The rest, into the same environment: training, PostgreSQL, tests and checks.
$(VENV)/.full: $(VENV)/.light
	@echo "Installing what tests and checks need into $(VENV), torch $(TORCH) among it, once."
	@$(PIP_INSTALL) --no-build-isolation --editable '.[cpu,train,postgres,openai,sentence-transformers,ann-benchmarks,dev]'
	@touch $@

.PHONY: light full
light: $(VENV)/.light ## install the library, its command and faiss-cpu (no torch)
full: $(VENV)/.full ## install everything that tests and checks need

# ------------------------------------------------------------------ what a visitor runs

.PHONY: demo
demo: light ## upgrade a dictionary's embedding model and measure it (about a minute)
	@$(VENV)/bin/vecstore demo

# ------------------------------------------------------------------ what CI runs

.PHONY: browser test test-slow check docs wheel-check
# The distribution's own package: playwright's downloads would be a second source of programs.
browser: ## install Chromium if it is missing: the tests look at reports in it
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then \
	  exit 0; fi; \
	if ! command -v apt-get >/dev/null; then \
	  echo "make: expected chromium on the PATH, found none, and no apt-get to install it with;" \
	    "install it with your package manager." >&2; exit 1; fi; \
	if [[ "$$(id -u)" == 0 ]]; then root=; \
	elif command -v sudo >/dev/null; then root=sudo; \
	else echo "make: expected chromium on the PATH, found none; run 'apt-get install chromium'" \
	  "as root." >&2; exit 1; fi; \
	echo "Installing chromium with apt-get: about 100 MB, once."; \
	{ $$root apt-get update -qq \
	  && $$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	    --no-install-recommends chromium fonts-dejavu-core >/dev/null; } || { \
	  echo "make: apt-get could not install chromium; install it by hand and try again." >&2; \
	  exit 1; }

test: full browser ## run every test that takes seconds, and the doctests
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: full ## run the tests that take minutes
	$(PYTEST) -m slow --timeout 900 $(ARGS)

check: full ## formatting, lint, types, room rules, documentation
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) -m pytest --quiet tests/test_docs.py

docs: full ## run the examples of the documentation and check its links
	$(PY) -m pytest tests/test_docs.py $(ARGS)

wheel-check: full ## install the built wheel into a clean environment and search there
	rm -rf build/wheel && mkdir -p build/wheel
	$(PY) -m build --wheel --no-isolation --outdir build/wheel .
	$(PY) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt "$$(echo build/wheel/*.whl)[cpu]"
	build/wheel/venv/bin/python -I tests/wheel_smoke.py

# Coverage-guided, and so without an end: never part of CI, whose tests run the same targets over
# their seeds and some mutations.
SECONDS_EACH ?= 60
.PHONY: fuzz
fuzz: full ## fuzz all that reads foreign bytes: make fuzz [SECONDS_EACH=60] [TARGETS="npy filter"]
	@$(PIP_INSTALL) atheris
	$(PY) -m tests.fuzz.run --seconds $(SECONDS_EACH) $(TARGETS)

# ------------------------------------------------------------------ what a claim rests on

# Ratios measured in one run (CONTRIBUTING.md, Numbers); never part of CI.
.PHONY: bench
bench: full ## measure: make bench DATA=folder [ONLY=name]
	@[[ -d "$(DATA)" ]] || { echo "make: expected a folder of embeddings, got DATA='$(DATA)';" \
	  "say 'make bench DATA=/path/to/folder'." >&2; exit 2; }
	@for script in benchmarks/$(or $(ONLY),*).py; do \
	  echo "== $$script"; $(PY) "$$script" --data "$(DATA)"; done

.PHONY: peers
peers: build/peers/.stamp ## install the stores that benchmarks/peers.py compares with, apart from ours
build/peers/.stamp: benchmarks/peers-constraints.txt
	rm -rf build/peers && "$(PYTHON)" -m venv build/peers
	@for peer in numpy faiss-cpu hnswlib usearch lancedb chromadb qdrant-client \
	  pymilvus milvus-lite; do \
	  build/peers/bin/python -m pip install --quiet --disable-pip-version-check \
	    --constraint benchmarks/peers-constraints.txt "$$peer" || \
	  echo "make: could not install $$peer; the benchmark will name it and go on." >&2; done
	@touch $@

# ------------------------------------------------------------------ development

.PHONY: format
format: full ## format and fix what can be fixed by itself
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

# Resolves everything anew, so any pin may move: run the whole suite before committing the result.
# faiss-gpu shares its module with faiss-cpu, so it is resolved without being installed.
.PHONY: constraints
constraints: ## renew constraints.txt by a clean resolve (Python 3.11)
	rm -rf build/resolve && "$(PYTHON)" -m venv build/resolve
	build/resolve/bin/python -m pip install --quiet --upgrade hatchling pip
	build/resolve/bin/python -m pip install --quiet --no-build-isolation \
	  --editable '.[cpu,train,postgres,openai,sentence-transformers,ann-benchmarks,dev]' 'torch==$(TORCH)'
	build/resolve/bin/python -m pip install --quiet --dry-run --ignore-installed \
	  --report build/resolve/gpu.json 'faiss-gpu>=1.15'
	{ sed -n '/^#/p;/^$$/q' constraints.txt; echo; \
	  { build/resolve/bin/python -m pip freeze --all --exclude-editable | grep -v '^pip=='; \
	    build/resolve/bin/python -c 'import json; [print("{name}=={version}".format(\
	      **package["metadata"])) for package in json.load(open("build/resolve/gpu.json"))["install"]]'; \
	  } | sed -E 's/\+cpu$$//' | sort --ignore-case --unique; } > build/constraints.txt
	mv build/constraints.txt constraints.txt

.PHONY: clean
clean: ## remove environments, caches and build products
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(PACKAGES) tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
