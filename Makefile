# Each target makes .venv if it is missing or older than the requirements, and runs. Needs Python >= 3.10 and make.
PYTHON ?= python3
OLDEST_PYTHON ?= python3.10
JOBS ?= 2
# One thread a worker: two workers with two threads each are slower on two cores than two with one.
PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(JOBS) --dist worksteal

# Python 3.12 can count lines at next to no cost; before it, coverage takes a tenth of the suite's time.
COVERAGE = COVERAGE_CORE=$$(.venv/bin/python -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")')

.PHONY: demo test test-slow test-oldest lint format docs bench clean help

help:
	@echo "make demo         train a small model, make it forget a topic, show it (90 seconds after the installation)"
	@echo "make test         the test suite without the tests marked slow, and how much of the code it runs"
	@echo "make test-slow    the tests marked slow"
	@echo "make test-oldest  the test suite on the oldest Python and the oldest versions that setup.cfg allows"
	@echo "make lint         ruff: rules and format; mypy: types"
	@echo "make format       ruff: repair what can be repaired"
	@echo "make docs         the documentation site, into site/"
	@echo "make bench        the benchmarks, beside other libraries: benchmarks/results.json and README.md (20 minutes)"
	@echo "make clean        remove the environments, caches and build folders"

# The stamp is written last, so an interrupted installation is taken up again.
.venv/installed: setup.cfg pyproject.toml constraints.txt
	@echo "Making .venv with $$($(PYTHON) --version) and installing excise with its requirements (minutes, the first time)"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test,lint]"
	@touch $@

.venv-oldest/installed: setup.cfg pyproject.toml constraints-oldest.txt
	@echo "Making .venv-oldest with $$($(OLDEST_PYTHON) --version) and the oldest requirements (gigabytes, the first time)"
	@$(OLDEST_PYTHON) -m venv .venv-oldest
	@.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints-oldest.txt --editable ".[test]"
	@touch $@

demo: .venv/installed
	@.venv/bin/excise demo

test: .venv/installed
	@$(COVERAGE) $(PYTEST) -q -m "not slow" --cov=excise --cov-report=term

test-slow: .venv/installed
	@$(PYTEST) -q -m slow

test-oldest: .venv-oldest/installed
	@$(subst .venv/,.venv-oldest/,$(PYTEST)) -q -m "not slow"

lint: .venv/installed
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: .venv/installed
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

.venv/docs: .venv/installed
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	@touch $@

docs: .venv/docs
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

# excise and the libraries that it is measured beside, all in one process. codebook-features comes without its
# requirements, which ask for versions of 2023 that the others cannot do with; what it imports is in peers.txt.
BENCH_PIP = .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check
.venv-bench/installed: setup.cfg pyproject.toml constraints.txt benchmarks/peers.txt benchmarks/constraints-peers.txt
	@echo "Making .venv-bench with $$($(PYTHON) --version): excise and the libraries beside it (minutes, the first time)"
	@$(PYTHON) -m venv .venv-bench
	@$(BENCH_PIP) --constraint constraints.txt --editable ".[text,report]"
	@$(BENCH_PIP) --constraint constraints.txt --constraint benchmarks/constraints-peers.txt \
		--requirement benchmarks/peers.txt
	@$(BENCH_PIP) --no-deps codebook-features==0.1.2 || echo "The benchmarks go on without codebook-features, which wants Python < 3.12."
	@touch $@

# make bench ONLY="lookup generation" DATA=train.parquet MODEL=trained
bench: .venv-bench/installed
	@.venv-bench/bin/python benchmarks/run.py $(if $(ONLY),--only $(ONLY)) $(if $(DATA),--data $(DATA)) $(if $(MODEL),--model $(MODEL))

clean:
	rm -rf .venv .venv-oldest .venv-bench build dist site .coverage .pytest_cache .ruff_cache .hypothesis src/excise.egg-info
	find src tests examples docs research benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
