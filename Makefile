# Two commands: `make book` and `make test`. Both set everything up first.
#
# TORCH=installed  use the torch of the Python that runs make (a laptop's CPU build, a server's own CUDA
#                  build) instead of downloading the pinned one:  make book TORCH=installed
# PYTHON=...       the interpreter to build the environment with (3.11 or newer), default python3
# JOBS=...         chapters or tests at the same time, each on one thread, default 2

PYTHON ?= python3
TORCH ?= pinned
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready-$(TORCH)

.DEFAULT_GOAL := help
.PHONY: help book test lab clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10
	@echo "Options: TORCH=installed (use the torch you already have), PYTHON=python3.12, JOBS=2"

$(READY): requirements.lock pyproject.toml book/setup_environment.py
	$(PYTHON) book/setup_environment.py --folder $(VENV) --torch $(TORCH)
	@touch $@

book: $(READY)  ## run every changed chapter, check it, build the site in book/_build/html
	$(BIN)/python book/build.py --jobs $(JOBS)

test: $(READY)  ## run the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

lab: $(READY)  ## open the chapters in JupyterLab
	$(BIN)/jupyter lab notebooks

clean:  ## remove the environment, the built site and executed chapters
	rm -rf $(VENV) book/_build .pytest_cache .hypothesis *.egg-info
