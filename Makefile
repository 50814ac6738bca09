# make run    draw a sample library, index it, serve it
# make test   check the code, run the tests
# make soak   the long forms: kill loops, every seed of the simulation, chaos; about an hour
#
# Everything happens in .venv, built when missing from pinned versions.  GPU=1 takes the CUDA
# runtime instead of the CPU one: exactly one of the two may be installed.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
EXTRA := $(if $(GPU),gpu,cpu)
STAMP := $(VENV)/.installed-$(EXTRA)
SAMPLE := sample
WORKERS ?= 2

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test soak chaos check lint types layers fix sketch bench clean

run: $(STAMP) $(SAMPLE)/photos/captions.jsonl
	$(BIN)/python -m supervisor --profile P1 --originals $(SAMPLE)/photos --data $(SAMPLE)/data

test: check
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST)

# What a few seconds stand for in `make test`, at its full length.
SOAKED := tests/runtime/test_kill_loop.py tests/runtime/test_leftovers.py \
    tests/runtime/test_simulation.py tests/runtime/test_process.py

soak: $(STAMP)
	SOAK=1 $(BIN)/python -m pytest -n $(WORKERS) $(SOAKED) $(PYTEST)
	$(MAKE) chaos MINUTES=10

# SEED=… repeats what a failure names.
MINUTES ?= 2
chaos: $(STAMP)
	$(BIN)/python -m supervisor selftest --chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

check: lint types layers

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports

fix: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(SAMPLE)/photos/captions.jsonl: | $(STAMP)
	$(BIN)/python -m models.sketch render --n 120 --seed 1 --out $(SAMPLE)/photos

# Trains the built-in model anew; needs three hours and the `sketch` extra, which nothing else does.
sketch: $(STAMP)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[sketch]'
	$(BIN)/python -m models.sketch train --minutes 40 --work $(SAMPLE)/sketch
	$(BIN)/python -m models.sketch train-faces --minutes 80 --work $(SAMPLE)/sketch-faces
	$(BIN)/python -m models.sketch train-captions --minutes 45 --work $(SAMPLE)/sketch-captions --from $(SAMPLE)/sketch/checkpoint.pt
	$(BIN)/python -m models.sketch export --work $(SAMPLE)/sketch
	$(BIN)/python -m models.sketch export-faces --work $(SAMPLE)/sketch-faces
	$(BIN)/python -m models.sketch export-captions --work $(SAMPLE)/sketch-captions

bench: $(STAMP)
	$(BIN)/python -m bench

# pip removes the other runtime first: the packages overwrite each other's files.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(if $(GPU),$(BIN)/pip uninstall --quiet --yes onnxruntime,$(BIN)/pip uninstall --quiet --yes onnxruntime-gpu)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[$(EXTRA)]' --group dev
	rm -f $(VENV)/.installed-*
	touch $@

clean:
	rm -rf $(VENV) $(SAMPLE) .mypy_cache .ruff_cache .pytest_cache .hypothesis
