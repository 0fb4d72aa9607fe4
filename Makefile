# Everything a newcomer needs: `make lab` opens the course, `make test` proves that it works.
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
ROOT   := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: lab test tour notebooks bench studies clean

lab: $(VENV)/.lab                  ## set up and open JupyterLab on the first notebook
	cd notebooks && ../$(PY) -m jupyterlab $(ROOT) --ServerApp.ip=127.0.0.1 --LabApp.default_url=/lab/tree/00_tour.ipynb $(LABFLAGS)

test: $(VENV)/.test                ## set up and run everything: lint, types, unit tests, doctests, notebooks
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest

tour: $(VENV)/.test                ## run the first notebook without a browser and write it as one HTML page
	$(PY) -m kcd_teach.notebooks tour notebooks/00_tour.ipynb 00_tour.html

notebooks: $(VENV)/.test           ## run all notebooks and store their outputs
	$(PY) -m kcd_teach.notebooks execute notebooks/*.ipynb

bench: $(VENV)/.test               ## measure speed (by hand; prints ratios)
	$(PY) -m tests.benchmarks.speed
	$(PY) -m tests.benchmarks.engine

studies: $(VENV)/.test             ## repeat every stored measurement (two to three hours on two cores)
	$(PY) -m kcd_teach.traces teacher
	for study in students students-10k methods engine; do \
		$(PY) -m kcd_teach.cli bench --plan $$study --folder runs/$$study --workers 2 || exit 1; done
	$(PY) -m kcd_teach.method_costs
	$(PY) -m kcd_teach.traces

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Could not create $(VENV). On Debian and Ubuntu, install the package python3-venv first."; exit 1; }

$(VENV)/.lab: pyproject.toml | $(VENV)/bin/python
	$(PY) -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(PY) -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.lab

clean:                             ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
