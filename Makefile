# `make demo` and `make test` are all a fresh machine needs: both build everything first.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# Every run starts several processes: without its compiled modules each of them would compile all of mpc for half a second.
unexport PYTHONDONTWRITEBYTECODE
CORE := build/native
NATIVE := $(wildcard native/*.c native/*.h native/*.inc) native/build.py setup.py pyproject.toml

.PHONY: build demo test test-all lint format bench bench-guard bench-peers wheel size clean ct sanitize cross

build: $(VENV)/built

# Modules are compiled when they are first imported, not all of every package now: that took longer than to download them.
$(VENV)/installed: pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check setuptools wheel cffi
	$(PY) -m pip install --quiet --disable-pip-version-check --no-compile --no-build-isolation --editable '.[dev]'
	touch $@

# Installing builds the native core too: again only where a source is newer.
$(VENV)/built: $(VENV)/installed $(NATIVE)
	test -z "$$(find $(NATIVE) -newer mpc/_native.abi3.so 2>&1)" || $(PY) setup.py --quiet build_ext --inplace
	touch $@

demo: build
	$(PY) examples/two_hospitals.py

test: build
	$(PY) -m pytest -n auto --dist worksteal -m "not slow"

# Slow tests do as much as a nightly run should; MPC_NIGHTLY=0.1 makes them do a tenth. Their figures go to a file.
test-all: build
	@mkdir -p build
	$(PY) -m pytest --figures build/figures.json

lint: build
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PY) -m pytest tests/test_floors.py

format: build
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# Under ten minutes on two idle cores; writes build/bench.json and build/report.html.
bench: build
	$(PY) -m pytest bench -p benchmark --benchmark-only

# Instructions of fixed kernels and of fixed programs against bench/instructions.json: more than 2 % above it fails.
bench-guard: build $(CORE)/walk
	$(call needs,valgrind,valgrind)
	$(PY) bench/instructions.py

# Other engines, each in an environment of its own in build/peers; the first time takes minutes and some GB.
bench-peers: build
	$(PY) bench/peers/compare.py

# ---- the native core by itself: constant time, memory errors, another processor ----

SOURCES := $(wildcard native/*.c) $(wildcard native/*.h native/*.inc) tests/native/walk.c tests/native/dudect.c
STRICT := -std=gnu11 -ffp-contract=off -g -Wall -Wextra -Wshadow -Wconversion -Werror -Inative
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
needs = @command -v $(1) >/dev/null || { echo "make $@ needs $(1): install the Debian package $(2)"; exit 1; }

$(CORE)/walk $(CORE)/dudect: $(CORE)/%: $(SOURCES)
	@mkdir -p $(CORE)
	$(CC) -O3 $(STRICT) tests/native/$*.c native/*.c -o $@ -lm

# Valgrind hides what it cannot decode (3.19: AVX-512, and VAES, so that AES-NI runs): `walk` lists the tiers it leaves.
ct: $(CORE)/walk $(CORE)/dudect
	$(call needs,valgrind,valgrind)
	@echo '#include <valgrind/memcheck.h>' | $(CC) -E - >/dev/null 2>&1 || { echo "make ct needs valgrind/memcheck.h: install the Debian package valgrind"; exit 1; }
	@for leak in branch index; do valgrind -q --error-exitcode=9 $(CORE)/walk ref $$leak 2>/dev/null; \
	    test $$? = 9 || { echo "a planted secret $$leak was not seen"; exit 1; }; echo "planted $$leak: seen"; done
	@for tier in $$(valgrind -q $(CORE)/walk); do valgrind -q --error-exitcode=9 $(CORE)/walk $$tier >$(CORE)/ct.$$tier || exit 1; \
	    echo "$$tier: $$(wc -l <$(CORE)/ct.$$tier) results, no branch and no address depends on a secret"; done
	$(CORE)/dudect $(SAMPLES)

sanitize: build
	@mkdir -p $(CORE)
	$(CC) -O1 $(STRICT) $(SANITIZE) tests/native/walk.c native/*.c -o $(CORE)/walk-sanitized
	$(CORE)/walk-sanitized ref >$(CORE)/sanitize.ref
	@for tier in $$($(CORE)/walk-sanitized); do $(CORE)/walk-sanitized $$tier | cmp - $(CORE)/sanitize.ref || exit 1; \
	    echo "$$tier: no report, and the results of ref"; done
	rm -rf build/sanitize && mkdir -p build/sanitize && cp -r mpc build/sanitize && rm -f build/sanitize/mpc/_native*
	CFLAGS="$(SANITIZE)" LDFLAGS="$(SANITIZE)" $(PY) setup.py --quiet build_ext --build-lib build/sanitize --build-temp build/sanitize/temp
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
	    PYTHONSAFEPATH=1 PYTHONPATH=build/sanitize $(PY) -c "import sys, mpc, pytest; sys.exit(pytest.main(['tests/native', '-p', 'no:cacheprovider']))"

# The portable tier elsewhere: the same words on the same inputs.
cross: $(CORE)/walk
	$(call needs,aarch64-linux-gnu-gcc,gcc-aarch64-linux-gnu)
	aarch64-linux-gnu-gcc -O3 $(STRICT) -static tests/native/walk.c native/*.c -o $(CORE)/walk-aarch64
	$(call needs,qemu-aarch64,qemu-user)
	$(CORE)/walk ref >$(CORE)/cross.x86
	qemu-aarch64 $(CORE)/walk-aarch64 ref >$(CORE)/cross.aarch64
	cmp $(CORE)/cross.x86 $(CORE)/cross.aarch64
	@echo "aarch64: $$(wc -l <$(CORE)/cross.x86) results, equal to those of this machine"

wheel: build
	$(PY) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

size:
	@wc -l mpc/*.py mpc/*/*.py native/*.[ch] native/*.inc | sort -n

clean:
	rm -rf build dist mpc/_native*.so $(VENV)/built
