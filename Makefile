# Two commands on a fresh machine: `make demo` and `make test`. Needs Python 3.11 or newer, gcc and make.
# `make test-all` is what `make test` leaves out: slow tests, the report in a browser, an older zarr.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ZARR2  := .venv-zarr2
DEMO   ?= demo

# A process per core, each of about 1 GB.
PYTEST := $(BIN)/pytest -n logical --maxprocesses 8 --dist worksteal

.PHONY: demo test test-all check zarr2 clean

demo: $(STAMP)          ## a synthetic volume, six strategies in a race, ending in demo/run/report.html
	$(BIN)/counterpoise demo $(DEMO)

test: check $(STAMP)    ## what must hold before a change lands
	$(PYTEST)

test-all: $(VENV)/.browser zarr2   ## what `make test` leaves out
	$(PYTEST) -m slow

check: $(STAMP)         ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

zarr2: $(ZARR2)/.installed   ## what reads and decodes crops, again under zarr-python 2.18 (without torch)
	$(ZARR2)/bin/python -m pytest -q -p no:cacheprovider tests/unit/volumes tests/unit/store/test_build.py \
		tests/unit/frequencies/test_count.py

clean:
	rm -rf $(VENV) $(ZARR2) demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# torch comes first and by its exact version, so that nothing after it can bring another build along.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV) || { echo "expected: Python with venv (Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable . --group dev
	touch $@

$(VENV)/.browser: $(STAMP)
	$(BIN)/pip install --quiet --group browser
	touch $@

$(ZARR2)/.installed: pyproject.toml
	$(PYTHON) -m venv $(ZARR2)
	$(ZARR2)/bin/pip install --quiet "zarr>=2.18,<3" "numcodecs<0.16" numpy scipy pytest hypothesis jaxtyping beartype pydantic tomli-w psutil
	echo "$(CURDIR)/src" > $$($(ZARR2)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/counterpoise.pth
	touch $@
