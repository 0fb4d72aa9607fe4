# Everything a newcomer needs: `make lab` opens the course, `make test` proves that it works.
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
ROOT   := $(if $(filter 0,$(shell id -u)),--allow-root)
# Tests run side by side in so many processes of one thread each; all tests of a file, and all cells of a notebook, in one.
WORKERS ?= 2
# JupyterLab asks newcomers about its news and looks for updates; in this environment it does neither, unless told to.
QUIET  := {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}
PYTEST := $(PY) -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder
# What KCD is, and the loop that it changes; the longest first, so that no process waits for another.
HEART  := tests/test_resuming.py tests/test_training.py tests/test_loop_oracle.py tests/condensation \
          tests/distillers/test_kd.py tests/test_views.py tests/test_batches.py

.PHONY: help lab app quick test lint tour notebooks site browser bench gpu studies develop lock clean

help:                              ## say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1@\2/p' $(MAKEFILE_LIST) | while IFS=@ read -r name text; do printf '%-15s %s\n' "$$name" "$$text"; done

lab: $(VENV)/.lab                  ## set up and open JupyterLab on the first notebook
	@mkdir -p $(VENV)/etc/jupyter/labconfig && echo '$(QUIET)' > $(VENV)/etc/jupyter/labconfig/default_setting_overrides.json
	cd notebooks && ../$(PY) -m jupyterlab $(ROOT) --ServerApp.ip=127.0.0.1 --LabApp.default_url=/lab/tree/00_tour.ipynb $(LABFLAGS)

app: $(VENV)/.lab                  ## set up and open the laboratory: all instruments on one page, for a lecture
	$(PY) -m kcd_teach.cli app $(APPFLAGS)

test: lint                         ## set up and run everything: lint, types, unit tests, doctests, notebooks
	$(PYTEST)

quick: lint                        ## lint, types and the tests of the heart: a minute, for while you work
	$(PYTEST) $(HEART)

lint: $(VENV)/.test                ## lint and types alone
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

tour: $(VENV)/.test                ## run the first notebook without a browser and write it as one HTML page
	$(PY) -m kcd_teach.notebooks tour notebooks/00_tour.ipynb 00_tour.html

notebooks: $(VENV)/.test           ## run all notebooks and store their outputs
	$(PY) -m kcd_teach.notebooks execute notebooks/*.ipynb
	$(PY) -m kcd_teach.notebooks figures notebooks/*.ipynb

site: $(VENV)/.site                ## write the whole course and the reference as a static site, build/site/index.html
	$(PY) -m sphinx -c docs -E -W --keep-going -q -d build/doctrees . build/site
	@echo "wrote build/site/index.html; a phone can read it after: $(PY) -m http.server --directory build/site"

browser: $(VENV)/.test             ## the checks in a real browser alone, every notebook included (ten minutes)
	$(PYTEST) -m "slow or not slow" tests/browser

bench: $(VENV)/.test               ## measure speed (by hand; prints ratios)
	$(PY) -m tests.benchmarks.speed
	$(PY) -m tests.benchmarks.engine
	$(PY) -m tests.benchmarks.browser

gpu: $(VENV)/.test                 ## what a GPU is wanted for: its tests, step times, the full runs; PARTS="campaign" SECONDS=840 DATA=FOLDER
	$(PY) -m tests.benchmarks.gpu $(PARTS) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(DATA),--data $(DATA)) $(GPUFLAGS)

# The studies on choosing by value, with the value measures and the altered images that their plans name.
CHOICE := choice-2k choice-10k choice-500 choice-length choice-convnet ranking-2k ranking-10k wrong-labels rare-class duplicates
OWN    := --with data/results/choice/ranking_measures.py --with data/results/choice/altered_images.py

studies: $(VENV)/.test             ## repeat every stored measurement (half a day on two cores)
	$(PY) -m kcd_teach.lessons.measurements teacher
	for study in students students-10k methods engine; do \
		$(PY) -m kcd_teach.cli bench --plan $$study --folder runs/$$study --workers 2 || exit 1; done
	for study in $(CHOICE); do \
		$(PY) -m kcd_teach.cli $(OWN) bench --plan $$study --folder runs/$$study --workers 2 || exit 1; done
	$(PY) -m kcd_teach.lessons.measurements costs
	$(PY) -m kcd_teach.lessons.measurements traces

develop: $(VENV)/.dev              ## set up what work on the package needs

lock: $(VENV)/.dev                 ## write down the versions in this environment; run the tests with them first
	@{ echo "# Made by: make lock, that is pip freeze --exclude-editable after make develop; $$($(PY) --version), $$(uname -s)"; \
	  $(PY) -m pip freeze --exclude-editable; } > requirements.lock

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Could not create $(VENV). On Debian and Ubuntu, install the package python3-venv first."; exit 1; }
ifdef CPU
	@# Half an environment would be taken for a whole one, and get PyTorch with CUDA the next time.
	@{ $(PY) -m pip install --quiet uv && $(PY) -m uv pip install --python $(PY) --torch-backend cpu torch torchvision; } \
	  || { rm -rf $(VENV); echo "PyTorch for processors could not be downloaded; $(VENV) was removed, so that you can try again."; exit 1; }
else
	@echo "PyTorch comes with CUDA on Linux, 3.2 GB in all; without a GPU: make clean, then make lab CPU=1 (docs/installing.md)"
endif

$(VENV)/.lab: pyproject.toml | $(VENV)/bin/python
	$(PY) -m pip install --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(PY) -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.site $(VENV)/.lab

$(VENV)/.site: pyproject.toml | $(VENV)/bin/python
	$(PY) -m pip install --quiet --editable '.[site]'
	@touch $@ $(VENV)/.lab

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(PY) -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.test $(VENV)/.site $(VENV)/.lab

clean:                             ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
