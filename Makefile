# Everything here is one line of ordinary commands; see README for the same without make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# One OpenMP thread a test process: two processes share two cores.
# Loops that set-up has compiled are used, all else that tests keep is theirs.
LOOPS = $$($(BIN)/python -c "from tenfold.engine.kernel import cache_folder; print(cache_folder())")
TEST_ENV = NUMBA_CACHE_DIR=$(LOOPS) OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TENFOLD_CACHE=$(CURDIR)/.cache/tests

.PHONY: setup check loops test test-all reproduce claims bench peers browser docs serve lock clean

setup: $(STAMP)
$(STAMP): requirements/base.txt requirements/dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q src
	$(BIN)/python -m tenfold.rooms.jumprelu.kernels
	$(BIN)/python -m tenfold.rooms.extremal.warm
	$(BIN)/python -m tenfold.parts.mip.warm
	$(BIN)/python -m tenfold.rooms.diving.warm
	$(BIN)/python -m tenfold.rooms.vdn.warm
	$(BIN)/tenfold doctor
	touch $(STAMP)

check: setup
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/python tools/import_rules.py

# Loops whose sources have changed since set-up are compiled before a test's time limit counts.
loops: setup
	$(BIN)/python -m tenfold.rooms.jumprelu.kernels
	$(BIN)/python -m tenfold.rooms.extremal.warm
	$(BIN)/python -m tenfold.parts.mip.warm
	$(BIN)/python -m tenfold.rooms.diving.warm
	$(BIN)/python -m tenfold.rooms.vdn.warm

test: check loops
	$(TEST_ENV) $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: check loops
	$(TEST_ENV) $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not gpu and not bench"

reproduce: setup
	$(BIN)/tenfold reproduce --scale quick

claims: setup
	$(BIN)/tenfold jumprelu claim --scale laptop --results claims
	$(BIN)/tenfold scope claim --scale laptop --results claims
	$(BIN)/tenfold extremal claim --scale laptop --results claims
	$(BIN)/tenfold diving claim --scale laptop --results claims
	$(BIN)/tenfold vdn claim --scale laptop --results claims
	$(BIN)/python tools/claims_table.py --write

bench: setup
	$(BIN)/python bench/peers/train_step.py
	$(BIN)/python bench/extremal/peers.py $(PEER_DIR:%=--peer-dir %)

peers: setup
	$(BIN)/python tools/peers.py
	test -x .venv-rlgt/bin/python || $(PYTHON) -m venv .venv-rlgt
	.venv-rlgt/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/peers/rlgt.txt

browser:
	command -v chromium >/dev/null || (apt-get update -q && apt-get install -qy chromium)

docs:
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/docs.txt
	.venv-docs/bin/zensical build --clean

serve: setup
	$(BIN)/tenfold serve

lock: setup
	$(BIN)/python -m pip freeze --exclude-editable

clean:
	rm -rf $(VENV) .venv-* .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist site
