# `make demo` and `make test` are all a fresh machine needs: both build everything first.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
NATIVE := $(wildcard native/*.c native/*.h native/*.inc) native/build.py setup.py pyproject.toml

.PHONY: build demo test test-all lint format bench wheel size clean

build: $(VENV)/built

$(VENV)/installed: pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check setuptools wheel cffi
	$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[dev]'
	touch $@

$(VENV)/built: $(VENV)/installed $(NATIVE)
	$(PY) setup.py --quiet build_ext --inplace
	touch $@

demo: build
	$(PY) examples/two_hospitals.py

test: build
	$(PY) -m pytest -m "not slow"

test-all: build
	$(PY) -m pytest

lint: build
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PY) -m pytest tests/test_floors.py

format: build
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: build
	$(PY) -m pytest bench -p benchmark --benchmark-only

wheel: build
	$(PY) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

size:
	@wc -l mpc/*.py mpc/*/*.py native/*.[ch] native/*.inc | sort -n

clean:
	rm -rf build dist mpc/_native*.so $(VENV)/built
