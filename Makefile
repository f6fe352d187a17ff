# What a newcomer types. Every target sets up .venv first when it is missing or older than the lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers
FUZZ := .venv-fuzz
SECONDS ?= 60
# Where the environment forbids bytecode, each of the many processes that the tests start would compile the program anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test lint format bench bench-kafka peers chaos fuzz lock clean

run: $(STAMP)  ## the demo on the embedded log: mails in, outcomes out
	@$(BIN)/postroom demo

test: $(STAMP) lint  ## everything that must hold
	$(BIN)/python -m pytest -n 4 --dist worksteal

lint: $(STAMP)  ## format, lint, types, import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)  ## figures beside their peers; see benchmarks/README.md
	$(BIN)/python -m benchmarks

bench-kafka: $(STAMP) peers  ## the chain on Kafka at full length, beside its bounds, Quix Streams and Faust
	$(BIN)/python -m benchmarks.kafka_chain --mails 200000

peers: $(PEERS)/.installed  ## Quix Streams in an environment of its own, with our packages behind its own

$(PEERS)/.installed: benchmarks/requirements-peers.txt $(STAMP)
	@$(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements-peers.txt
	@$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' > $$($(PEERS)/bin/python -c 'import site; print(site.getsitepackages()[0])')/behind.pth
	@touch $@

chaos: $(STAMP)  ## the long form of the kill -9 tests
	$(BIN)/python -m pytest -m soak tests/chaos tests/copying tests/onkafka tests/replay

fuzz: $(STAMP) $(FUZZ)/.tried  ## change signed mails for SECONDS (60), guided by atheris where it can be had: none may prove what it should not
	@if [ -e $(FUZZ)/.installed ]; then exec $(FUZZ)/bin/python -m tests.fuzz --seconds $(SECONDS); \
	else exec $(BIN)/python -m tests.fuzz --seconds $(SECONDS); fi

$(FUZZ)/.tried: tests/fuzz/requirements.txt $(STAMP)
	@$(PYTHON) -m venv $(FUZZ)
	@$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r tests/fuzz/requirements.txt \
	  && touch $(FUZZ)/.installed || echo "atheris has no wheel for this Python and machine: the target's own loop runs instead" >&2
	@$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' > $$($(FUZZ)/bin/python -c 'import site; print(site.getsitepackages()[0])')/behind.pth
	@touch $@

lock: $(STAMP)  ## renew requirements.lock from pyproject.toml
	$(BIN)/pip-compile --quiet --extra dev --generate-hashes --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --output-file requirements.lock pyproject.toml

$(STAMP): requirements.lock pyproject.toml
	@echo "setting up $(VENV) (once)" >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "postroom needs Python 3.11 or later: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) $(FUZZ) build postroom-demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
