# What a contributor runs. Every target works on a machine with Python 3.11+ and a C compiler.
#
#   make demo          install into .venv and train on handwritten digits
#   make test          lint, type check and run all tests
#   make bench         training steps of models that people train, beside all rivals; BENCH_ARGS
#   make bench-all     every benchmark, one after the other
#   make bench-aot     those of training binaries alone: size, memory, time to the first step, speed
#   make fuzz          random graphs through the whole pipeline, MINUTES=10
#   make fuzz-trees    random programs of loops and choices, run in every way, MINUTES=10
#   make fuzz-readers  mutated files through the native readers, MINUTES=10
#   make test-triton   kernels for GPUs, without one: interpreted by Triton, and compiled by the lowest
#                      and the highest version of it, each in an environment of its own (2.5 GB)
#   make test-kernels  a part of that in a third of the time; continuous integration calls it after
#                      make test
#   make test-gpu      what needs an NVIDIA GPU, and the benchmark on it beside its rivals
#   make book          the documents and the reference of all names as pages: build/site/index.html
#   make golden        rewrite the expected halves of tests/cases (and fail, so that it is looked at)
#
# PYTHON chooses the interpreter for .venv; PYTEST_ARGS goes to pytest, BENCH_ARGS to the benchmark:
# make bench BENCH_ARGS="--rounds 3 --only lenet resnet20 --resume".

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TREE := frontend compiler runtime pytest_gradc.py tests examples benchmarks docs/reference.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.PHONY: help demo test bench bench-all bench-aot fuzz fuzz-trees fuzz-readers
.PHONY: test-triton test-kernels test-gpu
.PHONY: book lint format typecheck pytest golden clean

help:
	@sed -n 's/^#   //p' Makefile

# One stamp per set of packages, so that an install happens once per change of pyproject.toml.
$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet -e '.[bench]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python examples/digits.py

test: lint typecheck pytest

book: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check $(TREE)
	$(BIN)/ruff format --check $(TREE)

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix $(TREE)
	$(BIN)/ruff format $(TREE)

# mypy wants a folder named gradc: build/typing/gradc holds links to the three folders' contents.
typecheck: $(VENV)/.installed-dev
	rm -rf build/typing
	mkdir -p build/typing/gradc
	ln -s $(CURDIR)/frontend/* $(CURDIR)/compiler $(CURDIR)/runtime build/typing/gradc/
	ln -s $(CURDIR)/pytest_gradc.py build/typing/
	MYPYPATH=build/typing $(BIN)/mypy -p gradc -m pytest_gradc

pytest: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS) </dev/null

bench: $(VENV)/.installed $(VENV)/.installed-bench
	$(BIN)/python benchmarks/bench_training.py $(BENCH_ARGS)

bench-all: $(VENV)/.installed $(VENV)/.installed-bench
	$(BIN)/python benchmarks/run_all.py

bench-aot: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/bench_aot.py

MINUTES ?= 10
fuzz: $(VENV)/.installed-dev
	$(BIN)/python tests/fuzz_pipeline.py --minutes $(MINUTES)

fuzz-trees: $(VENV)/.installed-dev
	$(BIN)/python tests/fuzz_trees.py --minutes $(MINUTES)

fuzz-readers: $(VENV)/.installed-dev
	$(BIN)/python tests/fuzz_readers.py --minutes $(MINUTES)

golden: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --update-golden </dev/null

# Interpreting and compiling are for two processes: Triton is imported for the one or the other.
LOWEST := 3.6.0
HIGHEST := 3.9.0
TRITONS := $(LOWEST) $(HIGHEST)
TRITON_PYTEST = .venv-triton/$*/bin/python -m pytest -n 2 --dist worksteal
.PRECIOUS: .venv-triton/%/.installed
.venv-triton/%/.installed: pyproject.toml
	rm -rf $(@D)
	{ $(PYTHON) -m venv $(@D) && $(@D)/bin/python -m pip install --quiet --no-cache-dir --retries 2 \
	    -e '.[kernels]' triton==$*; } || { rm -rf $(@D); false; }
	touch $@

test-triton: $(TRITONS:%=test-triton-%)

test-triton-%: .venv-triton/%/.installed
	$(TRITON_PYTEST) tests/gpu/test_training.py </dev/null
	$(TRITON_PYTEST) tests/gpu/test_interpreted.py tests/gpu/test_persistent.py </dev/null
	$(TRITON_PYTEST) tests/gpu/test_cubins.py </dev/null

# What fits into continuous integration: every operation by the highest version, the examples for one
# architecture by the lowest, a quarter of the training runs by each.
test-kernels: $(TRITONS:%=test-kernels-%)

test-kernels-%:
	@if $(MAKE) --no-print-directory .venv-triton/$*/.installed; \
	then $(MAKE) --no-print-directory part-of-triton-$*; \
	else echo "note: Triton $* cannot be installed here; the tests that need it are left out"; \
	fi

part-of-triton-$(LOWEST): part-of-triton-%:
	$(TRITON_PYTEST) tests/gpu/test_training.py --part 1/4 </dev/null
	$(TRITON_PYTEST) tests/gpu/test_cubins.py --part 2/2 </dev/null

part-of-triton-$(HIGHEST): part-of-triton-%:
	$(TRITON_PYTEST) tests/gpu/test_training.py --part 3/4 </dev/null
	$(TRITON_PYTEST) tests/gpu/test_interpreted.py tests/gpu/test_persistent.py </dev/null

$(VENV)/.installed-gpu: pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet -e '.[dev,gpu]'
	touch $@

test-gpu: $(VENV)/.installed-gpu
	$(BIN)/python -m pytest -m gpu tests/test_device.py </dev/null
	$(BIN)/python benchmarks/gpu.py $(BENCH_ARGS)

clean:
	rm -rf $(VENV) .venv-triton build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
