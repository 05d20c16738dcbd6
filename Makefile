# Two commands do everything on a fresh machine: `make demo` and `make test`.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-full bench docs verify lint image image-test clean

NP ?= 2
DEMO := demos/demo_perforated_plate.py
PYTEST_ARGS ?=

# dolfinx, mpi4py and numpy come from .venv, or from where its setup linked them; what else is on
# PYTHONPATH could shadow them. Two MPICH ranks crash under Docker's default seccomp profile
# unless cross-memory attach is off. Tools that .venv brings are found without activating it.
RUN := env -u PYTHONPATH -u PYTHONHOME MPIR_CVAR_CH4_CMA_ENABLE=$${MPIR_CVAR_CH4_CMA_ENABLE:-0}
PYTHON_VENV := $(RUN) .venv/bin/python
MPIEXEC := $(RUN) .venv/bin/mpiexec

# Ranks that wait for each other for ever are ended: by pytest with traces, else by the clock.
TIMEOUT := $(shell command -v timeout >/dev/null 2>&1 && echo timeout -k 10 1200)
# More ranks than cores: MPICH must not spin while another rank needs the core.
THROTTLE := env MPIR_CVAR_CH4_PROGRESS_THROTTLE=1 MPIR_CVAR_CH4_PROGRESS_THROTTLE_NO_PROGRESS_COUNT=64
# Serial tests share the cores; WORKERS=0 runs them in this process (for -s, or a debugger).
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); [ "$$n" -le 8 ] || n=8; echo $$n)
MPI_PYTEST := .venv/bin/python -m pytest -p no:cacheprovider -o faulthandler_timeout=300 tests/mpi

help:
	@echo "make demo        set up and run the main demo on $(NP) ranks (NP=4 make demo)"
	@echo "make test        set up and run all tests: serial, then MPI on 2 and 3 ranks"
	@echo "make test-full   the same with all combinations"
	@echo "make bench       time kernels, tangents, compilation, assembly, ranks and solvers against"
	@echo "                 peers; SECTION=learning compares learned laws with black boxes; others:"
	@echo "                 kernels gpu tangent compile fe mpi solver sensitivity learned"
	@echo "make docs        build the documentation into build/docs/index.html"
	@echo "make verify      measure the errors in its table of laws again"
	@echo "make setup       make .venv with everything in it; DOLFINX=host reuses an installed dolfinx,"
	@echo "                 PYTHON=/path/to/python3 names the interpreter"
	@echo "make lint        ruff and mypy"
	@echo "make image       build the container image with docker, podman or buildah;"
	@echo "make image-test  run the demo and scripts in it (docker/README.md)"
	@echo "make clean       delete .venv, caches and results"

setup:
	@DOLFINX='$(DOLFINX)' PYTHON='$(PYTHON)' sh .ci/setup.sh

demo: setup
	$(MPIEXEC) -n $(NP) .venv/bin/python $(DEMO)

test: setup
	$(PYTHON_VENV) -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)
	$(THROTTLE) $(TIMEOUT) $(MPIEXEC) -n 2 $(MPI_PYTEST) $(PYTEST_ARGS)
	$(THROTTLE) $(TIMEOUT) $(MPIEXEC) -n 3 $(MPI_PYTEST) $(PYTEST_ARGS)

test-full:
	@ADMAT_TEST_OPTIMISED=1 $(MAKE) test PYTEST_ARGS='-m "full or not full"'

# The peers lie in a folder of their own, over .venv.
bench: setup
	@$(PYTHON_VENV) .ci/setup_bench.py
	$(RUN) PYTHONPATH=.venv-bench .venv/bin/python -m benchmarks $(SECTION)

# Warnings are errors: a name without documentation, a link that leads nowhere.
docs: setup
	@$(PYTHON_VENV) .ci/setup_docs.py
	$(PYTHON_VENV) -m sphinx -q -W --keep-going -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

verify: setup
	$(PYTHON_VENV) docs/verify.py

lint: setup
	$(PYTHON_VENV) -m ruff check .
	$(PYTHON_VENV) -m ruff format --check .
	$(PYTHON_VENV) -m mypy

image:
	@sh docker/image.sh build

image-test:
	@sh docker/image.sh test

clean:
	@[ ! -e .venv/admat-made ] || rm -rf .venv
	rm -rf .pytest_cache .mypy_cache .ruff_cache build docs/generated results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
