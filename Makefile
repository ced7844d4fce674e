# Two commands matter: `make demo` and `make test`. Both set everything up, also the second time and offline.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: help demo test lint bench soak venv apt clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
# Tests wait for processes as much as they compute: half as many again as there are processors.
WORKERS ?= $(shell echo $$((($$(nproc 2>/dev/null || echo 2) * 3 + 1) / 2)))

help:            ## This list.
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## (.*)/make \1\t\2/' | expand -t 14

demo: venv       ## The main job on the embedded default; ONCE=1 ends by itself, PORT=N moves the page.
	@$(BIN)/python examples/demo/demo.py --port $(PORT) $(if $(ONCE),--once)

test: venv apt lint ## Every check and every test.
	@$(BIN)/pytest -m "not soak" -n $(WORKERS) --dist worksteal $(PYTEST)

lint: venv       ## ruff, mypy --strict, import-linter.
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache > .stamps/imports.log || { cat .stamps/imports.log 2>/dev/null; exit 1; }

bench: venv      ## Figures as ratios; installs ansible-core in an environment of its own.
	@$(BIN)/python tests/bench/run.py $(BENCH)

soak: venv apt   ## The full counts and the real deadlines.
	@$(BIN)/pytest -m soak -s $(PYTEST)
	@RECONCILER_SOAK_EXAMPLES=500 $(BIN)/pytest -m hypothesis -n $(WORKERS) $(PYTEST)

venv: .stamps/venv ## The virtual environment with everything in it.

.stamps/venv: setup.cfg pyproject.toml
	@mkdir -p .stamps
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "missing: Python 3.11 or newer as '$(PYTHON)' (set PYTHON=...)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get install -y -qq python3-venv >/dev/null; } || { echo "missing: python3-venv" >&2; exit 1; }
	@[ -x $(BIN)/python ] && $(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing packages into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]' --config-settings editable_mode=compat \
	  || { echo "missing: the packages of setup.cfg could not be installed (is there a network?)" >&2; exit 1; }
	@touch $@

# What tests need from the system. Without root, or offline, tests that need a missing program skip and say so.
apt: .stamps/apt
.stamps/apt: tests/apt-packages.txt
	@mkdir -p .stamps
	@missing=$$(for p in $$(grep -v '^#' $<); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null; then \
	  if [ "$$(id -u)" = 0 ]; then echo "installing $$missing …"; \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; } >/dev/null 2>&1 \
	      && touch $@ || echo "note: could not install $$missing; tests that need them are skipped" >&2; \
	  else echo "note: not root, so not installed: $$missing; tests that need them are skipped" >&2; fi; \
	else touch $@; fi

clean:           ## Remove everything that was made here.
	@rm -rf $(VENV) .stamps .demo .bench build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
