# promocast. `make` lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help install demo run test faults soak lint format bench lock clean postgresql counterparts

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv and install promocast in it, with its tools

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "promocast needs Python 3.11 or newer; set PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP) ## the whole flow on this machine; ARGS="--once --json" for one run
	@$(BIN)/promocast demo $(ARGS)

run: $(STAMP) ## API, workers and sweeper with config/promocast.toml
	@$(BIN)/promocast up $(ARGS)

test: $(STAMP) postgresql counterparts ## every test; ARGS="-k email" for some
	$(BIN)/python -m pytest $(ARGS)

faults: $(STAMP) postgresql ## processes killed at random moments, a few minutes; FAULT_SEED=n repeats a run
	$(BIN)/python -m pytest -s tests/faults $(ARGS)

soak: $(STAMP) postgresql ## the same for twenty rounds
	FAULT_ROUNDS=20 $(BIN)/python -m pytest -s tests/faults/test_kills.py $(ARGS)

lint: $(STAMP) ## ruff, mypy, and the layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## put the code into its one form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## the benchmarks, as ratios; not part of the tests
	$(BIN)/python -m benchmarks $(ARGS)

lock: ## the newest versions into constraints.txt
	rm -rf $(VENV)/lock && $(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install --quiet --disable-pip-version-check '.[dev]'
	{ head -n 1 constraints.txt; $(VENV)/lock/bin/pip freeze --exclude promocast; } > $(VENV)/lock/constraints.txt
	mv $(VENV)/lock/constraints.txt constraints.txt && rm -rf $(VENV)/lock

# The tests start a PostgreSQL of their own. Where it is missing and may be installed, it is; elsewhere they are
# skipped, which they say, and in CI they fail.
postgresql:
	@if [ -z "$$PROMOCAST_TEST_POSTGRES" ] && ! command -v initdb >/dev/null && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y postgresql >/dev/null; \
	  else \
	    echo "PostgreSQL is not installed: its tests will be skipped. Debian: sudo apt-get install postgresql"; \
	  fi; \
	fi

# Servers that nobody here wrote, for the channels' tests: a Debian package and npm packages, in a folder of .venv.
counterparts: $(STAMP)
	@tests/channels/thirdparty/install.sh $(VENV)/counterparts

clean: ## remove what can be made again
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
