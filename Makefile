# `make demo` and `make test` need nothing but make and Python 3.11 to 3.13.
# Another interpreter: `make PYTHON=python3.12 test`. `make help` lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Written last: an interrupted set-up is done again by the next make.
STAMP  := $(VENV)/.installed

PIP_FLAGS    := --quiet --disable-pip-version-check
# A worker per core, at most four, with a thread each (conftest.py): every worker imports torch.
PYTEST_FLAGS ?= -n auto --maxprocesses 4 --dist worksteal

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow docs lint types format check clean constraints

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv with everything the other targets need

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit("darts_mim needs Python 3.11 to 3.13, and $(PYTHON) is " + v + ": name another, as in `make PYTHON=python3.12`")'
	@echo "setting up $(VENV); the first time this downloads PyTorch and takes some minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e ".[dev,docs]"
	@touch $@

demo: $(STAMP)  ## train on bouncing digits and forecast them, in minutes
	$(BIN)/python examples/bouncing_digits.py

test: $(STAMP)  ## run the quick tests and the examples in the docstrings
	$(BIN)/python -m pytest $(PYTEST_FLAGS) -m "not slow"

test-slow: $(STAMP)  ## run the slow tests
	$(BIN)/python -m pytest $(PYTEST_FLAGS) -m slow

docs: $(STAMP)  ## build the site into site/, running its examples
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(STAMP)  ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## check the types
	$(BIN)/mypy

format: $(STAMP)  ## format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint types docs test-slow test  ## all of the above

clean:  ## remove .venv and everything that was built
	rm -rf $(VENV) build dist site .cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# From a fresh environment that has the newest versions pyproject.toml allows. What only some
# builds of PyTorch need stays out: PyTorch pins it itself.
constraints:  ## write constraints.txt anew, with the newest versions allowed
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install $(PIP_FLAGS) -e ".[dev,docs]"
	sed -n '/^#/p' constraints.txt > build/constraints.txt
	build/constraints/bin/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools \
	    | sed -E 's/\+[a-z0-9.]+$$//' | grep -vE '^(nvidia-|cuda-|triton==)' >> build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/constraints
