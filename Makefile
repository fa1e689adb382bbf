# `make test` sets up the environment, then runs every check and test that this machine can run.
PYTHON ?= python3
# How many processes run the tests, but for those of real programs, which need the machine for themselves; 0 is this
# one alone.
WORKERS ?= 0
BIN := venv/bin
PACKAGES := lollms_core lollms_runtime lollms_client lollms_server lollms_cli

.PHONY: setup test check format test-pure test-socket test-process test-spec test-heavy test-documented-route test-strict \
	test-wheel test-lowest bench soak clean

setup:
	$(PYTHON) install_core.py --dev

test: setup check
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile tests/pure tests/socket
	$(BIN)/python -m pytest -q tests/process
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile tests/spec tests/heavy
	$(MAKE) test-documented-route
	$(MAKE) test-wheel

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin
	$(BIN)/mypy --platform win32
	$(BIN)/lint-imports --no-logo

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The lanes one by one: pure has no socket, socket has real ones, process starts real programs, heavy needs big extras.
test-pure test-socket test-process test-spec test-heavy: test-%: setup
	$(BIN)/python -m pytest -q tests/$*

# The tests that generate through the server once more, without the quick route in front of the documented one.
test-documented-route: setup
	LOLLMS_TEST_ROUTE=documented $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile tests/pure tests/socket tests/process

# The tests as they run in an interpreter that is strict about bytes and encodings.
test-strict: setup
	PYTHONWARNDEFAULTENCODING=1 $(BIN)/python -bb -m pytest -q tests/pure tests/socket

# The built wheel, installed in an empty environment, must answer.
test-wheel: setup
	$(BIN)/python tests/wheel_smoke.py

# With each direct dependency at the lowest version that pyproject.toml declares; takes minutes the first time.
LOWEST := build/lowest
test-lowest: setup
	mkdir -p $(LOWEST)
	$(BIN)/python -m release.lowest > $(LOWEST).txt
	$(PYTHON) install_core.py --environment-only --venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LOWEST).txt \
		--editable '.[all]' gguf hypothesis psutil pytest pytest-timeout pytest-xdist
	$(LOWEST)/bin/python -m pytest -p no:anyio -q -n $(WORKERS) --dist loadfile tests/pure tests/socket

bench: setup
	$(BIN)/python -m pip install --quiet -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks.run

# Ten minutes of everything that can go wrong, after which nothing may have grown.
soak: setup
	$(BIN)/python -m pip install --quiet -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks.soak --write

clean:
	rm -rf venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
