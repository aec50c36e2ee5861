# Two commands: `make demo` audits a real model on real data, `make test` checks everything.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test lint generate benchmark clean

$(BIN)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

# The stubs of TensorRT depend on TensorRT itself, which type checking can do without.
$(BIN)/.dev: pyproject.toml .ci/fix_stubs.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'tensorrt-stubs==10.13.*'
	$(BIN)/python .ci/fix_stubs.py $(VENV)/stubs
	touch $@ $(BIN)/.demo

demo: $(BIN)/.demo
	$(BIN)/calaudit demo

lint: $(BIN)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What is made from the dataclasses of a report: its JSON Schema, its tables in docs/.
generate: $(BIN)/.dev
	$(BIN)/python docs/generate.py

# pytest rewrites the assertions of each test file, which takes as long as importing all of them, and
# keeps what comes of it: done once beside mypy, no process of `make test` has to do it again.
REWRITTEN := .pytest_cache/rewritten
$(REWRITTEN): $(BIN)/.dev $(shell find tests benchmarks -name '*.py')
	mkdir -p $(@D)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only -qq >/dev/null || true
	touch $@

# PYTEST: more options, as .ci/run gives them. A file's tests stay in one process, and share its
# fixtures; files start in the order of tests/conftest.py, which says how many processes there are.
# Tests start hundreds of processes: with PYTHONDONTWRITEBYTECODE set, each would compile the package
# anew. Matrix products spread over all cores would only wait for one another.
test:
	$(MAKE) --no-print-directory --jobs=2 lint $(REWRITTEN)
	$(BIN)/python -m compileall -q -j 0 calaudit
	PYTHONDONTWRITEBYTECODE= OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(PYTEST)

# What calaudit costs beside its peers, in one table, in about ten minutes. TABLE: more options, as
# `--into docs/benchmarks.md`.
benchmark: $(BIN)/.dev
	$(BIN)/python benchmarks/table.py $(TABLE)

clean:
	rm -rf $(VENV) calaudit-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
