# Everything a developer runs.  A clean clone needs Python >= 3.11 with its headers, a C compiler and a
# package index; `make demo` and `make test` set up the rest.
#
#   PYTHON=python3.13   the interpreter to make .venv with
#   ARGS='-k varint'    passed on to what the target runs

.DEFAULT_GOAL := help
.PHONY: help demo test impairments browsers interop bench compare targets instructions congestion plots lint format types asan fuzz coverage clean
.DELETE_ON_ERROR:

VENV := .venv
RUN := $(VENV)/bin/
PYTHON ?= $(shell for p in python3 python3.15 python3.14 python3.13 python3.12 python3.11 python; do \
	  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
SOURCES := setup.py $(shell find src -name '*.pyx' -o -name '*.pxd')
CODE := setup.py src tests benchmarks
JOBS := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
FUZZ_RUNS ?= 1000000
SEEDS ?= 200

help:                      ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1 /p' $(MAKEFILE_LIST) | while read -r name text; do \
	  printf '  make %-12s %s\n' "$$name" "$$text"; done

demo: $(VENV)/built        ## self-check, then the demo server and its page; ARGS=--once: self-check only
	$(RUN)cwt demo $(ARGS)

test: $(VENV)/built browsers ## every test; ARGS='tests/wire -x' for some
	$(RUN)python -m pytest $(ARGS)

impairments: $(VENV)/built ## 10 MB over bad networks, for a night; SEEDS=200, ARGS='loss --seed 7'
	PYTHONPATH=src $(RUN)python -m tests.sim.matrix --seeds $(SEEDS) $(ARGS)

interop: $(VENV)/built     ## every case of the QUIC interop runner with every peer, into docs; ARGS='--peers quinn'
	$(RUN)python -m tests.interop.runner --write $(ARGS)

bench: $(VENV)/built       ## pytest-benchmark suites, then cwt and aioquic side by side
	$(RUN)python -m pytest benchmarks --benchmark-columns=min,median,ops --benchmark-sort=name $(ARGS)
	$(RUN)python -m benchmarks.compare --stacks cwt,aioquic

compare: $(VENV)/compare   ## many stacks side by side, into README and docs; ARGS='--stacks cwt,quinn'
	$(RUN)python -m benchmarks.compare --write $(ARGS)

targets: $(VENV)/built     ## what cwt should reach, measured here; ARGS='bulk --rounds 9' for some
	$(RUN)python -m benchmarks.targets $(ARGS)

instructions: $(VENV)/built ## CPU instructions per packet by callgrind, and their change; ARGS=--save
	$(RUN)python -m benchmarks.instructions $(ARGS)

congestion: $(VENV)/built  ## controllers at simulated bottlenecks, every cell; ARGS=--write: into docs
	$(RUN)python -m benchmarks.congestion grid $(ARGS)

plots: $(VENV)/built       ## pictures of the controllers into build/congestion; ARGS=--write: into docs
	$(RUN)python -m benchmarks.congestion plots $(ARGS)

lint: $(VENV)/ready        ## ruff, ruff format and cython-lint
	$(RUN)ruff check $(CODE)
	$(RUN)ruff format --check $(CODE)
	PATH="$(CURDIR)/$(RUN):$$PATH" $(RUN)cython-lint src

format: $(VENV)/ready      ## rewrite the sources as lint wants them
	$(RUN)ruff check --fix $(CODE)
	$(RUN)ruff format $(CODE)

types: $(VENV)/built       ## mypy --strict on the package
	$(RUN)mypy

fuzz: $(VENV)/built        ## a million hostile inputs; FUZZ_RUNS=N, ARGS='--seed 7 --target frames'
	$(RUN)python -m tests.fuzz --runs $(FUZZ_RUNS) $(ARGS)

# The sanitizers need a build of their own, so it lives in a copy of the tree.
asan: $(VENV)/built        ## the tests of the core under the address and undefined-behaviour sanitizers
	mkdir -p build/asan
	git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C build/asan
	cd build/asan && CWT_BUILD=asan $(CURDIR)/$(RUN)python setup.py -q build_ext --inplace -j$(JOBS)
	cd build/asan && PYTHONPATH=src PYTHONMALLOC=malloc \
	  ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=32 UBSAN_OPTIONS=halt_on_error=1 \
	  LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	  $(CURDIR)/$(RUN)python -m pytest -m 'not browser and not slow and not source' --timeout=600 $(ARGS)

coverage: $(VENV)/built    ## line coverage of Python and Cython
	mkdir -p build/coverage
	git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C build/coverage
	$(RUN)pip install -q coverage
	cd build/coverage && CWT_BUILD=coverage $(CURDIR)/$(RUN)python setup.py -q build_ext --inplace -j$(JOBS)
	cd build/coverage && PYTHONPATH=src $(CURDIR)/$(RUN)python -m coverage run --source=src \
	  -m pytest -m 'not browser and not slow and not source' --timeout=600 $(ARGS)
	cd build/coverage && PYTHONPATH=src $(CURDIR)/$(RUN)python -m coverage report --skip-covered

# As root on Debian the browser tests get their browsers; elsewhere they skip what is missing.
browsers:
	@if ! { command -v chromium && command -v firefox-esr; } >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	      --no-install-recommends chromium firefox-esr; } >/dev/null \
	    || echo 'the browsers did not install: their tests skip'; \
	  else echo 'install chromium and firefox-esr to run the browser tests'; fi; fi

clean:                     ## remove everything that was built, .venv too
	rm -rf build dist $(VENV) .mypy_cache .ruff_cache .hypothesis .benchmarks src/*.egg-info
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
	find src -name '*.so' -delete -o -name '*.c' -delete

$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] || { echo 'no Python 3.11 or newer found: make PYTHON=/path/to/python3'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/ready: $(VENV)/bin/python pyproject.toml
	$(RUN)python -m pip install -q 'setuptools>=77' 'Cython>=3.3,<4'
	$(RUN)python setup.py -q build_ext --inplace -j$(JOBS)
	$(RUN)python -m pip install -q --no-build-isolation -e '.[dev]'
	@touch $@

# What does not install here is skipped by the comparison, which says so.
$(VENV)/compare: $(VENV)/built
	-$(RUN)python -m pip install -q --no-build-isolation -e '.[compare]'
	@touch $@

# An editable install does not notice edited Cython sources, so every target that runs code comes here.
$(VENV)/built: $(VENV)/ready $(SOURCES)
	$(RUN)python setup.py -q build_ext --inplace -j$(JOBS)
	@touch $@
