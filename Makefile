# excise: everything that a person or a CI machine types.
#
#   make run        the README's command, in a fresh environment of pinned packages
#   make test       the quick tests          make test-jobs   whole jobs of a tiny model
#   make test-slow  those that take minutes
#   make lint       ruff                     make notebooks   run the notebooks
#   make viz        see the pipelines        make bench       time what is promised to be cheap
#   make docs       the documentation's site make test-docs   every command of the documentation, in a tiny project
#   make readme     the README's tables, from the last run
#   make airflow-dags   write dags/ for Airflow          make test-airflow   run them with Airflow
#   make clean      remove all but results in data/
#
# PYTHON=… chooses the interpreter (3.11 or newer). On Linux the default torch comes with CUDA; for the smaller one set
# PIP_EXTRA_INDEX_URL to PyTorch's index for CPUs.

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PYTEST_ARGS ?=
PYTHON_FILES := src tests benchmarks examples mkdocs_hooks.py readme_tables.py

export DO_NOT_TRACK := 1

.PHONY: run test test-jobs test-slow test-docs test-airflow test-browser airflow-dags lint viz docs readme notebooks bench clean

run: $(VENV)/.installed-run
	$(BIN)/kedro run --pipeline=erase_nsfw

# two processes of one thread each are faster than one of two: the models are tiny
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not jobs and not airflow and not browser" -n 2 --dist loadscope $(PYTEST_ARGS)

test-jobs: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "jobs and not slow" -n 2 --dist loadscope $(PYTEST_ARGS)

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

test-docs: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/docs $(PYTEST_ARGS)

airflow-dags: $(VENV)/.installed-run
	$(BIN)/kedro dags

# Airflow's packages and the models' do not go into one environment
test-airflow: $(VENV)/.installed-dev $(VENV)-airflow/.installed
	EXCISE_AIRFLOW=$(VENV)-airflow $(BIN)/python -m pytest -m airflow tests/airflow $(PYTEST_ARGS)

# report and leaderboard in Chromium, which must be on the PATH
test-browser: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m browser tests/unit/reports $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check $(PYTHON_FILES)
	$(BIN)/ruff format --check $(PYTHON_FILES)

viz: $(VENV)/.installed-dev
	$(BIN)/kedro viz run --include-hooks --host=127.0.0.1

docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict

readme: $(VENV)/.installed-run
	$(BIN)/python readme_tables.py

notebooks: $(VENV)/.installed-dev
	$(BIN)/jupyter-execute notebooks/*.ipynb

bench: $(VENV)/.installed-run
	cd benchmarks && for script in collecting trajectories training attacks encoding searching scoring handling drawing comparing reporting page; do ../$(BIN)/python $$script.py || exit 1; done

clean:
	rm -rf $(VENV) $(VENV)-airflow build dist .viz .pytest_cache .ruff_cache src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "excise needs Python 3.11 or newer: install it, or set PYTHON=."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# one stamp an extra, so that nothing is installed twice
$(VENV)/.installed-run: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed-run

$(VENV)-airflow/.installed: constraints-airflow.txt
	$(PYTHON) -m venv $(VENV)-airflow
	$(VENV)-airflow/bin/pip install --quiet -c constraints-airflow.txt apache-airflow
	touch $@
