# The commands of this project; `make` lists them. They need Python 3.11 or newer, git and make, and nothing else:
# the first one that is used builds an environment in .venv, later ones reuse it.

VENV := .venv
PINNED := $(VENV)/.pinned
READY := $(VENV)/.ready
PARAMS ?=
CORES ?= all
PYTEST_ARGS ?=

# The first that is new enough; or name one: make PYTHON=/path/to/python3
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
UV ?= $(shell command -v uv 2>/dev/null)
ifneq ($(UV),)
CREATE = "$(UV)" venv --python "$(PYTHON)"
INSTALL = "$(UV)" pip install --compile-bytecode --python $(VENV)/bin/python
else
CREATE = "$(PYTHON)" -m venv
INSTALL = $(VENV)/bin/python -m pip install
endif

COMPILE = uv pip compile --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock"

quoted = '$(subst ','\'',$(1))'
CONFIG := $(if $(PARAMS),--configfile $(call quoted,$(PARAMS)))
SMK := Snakefile workflow

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# Snakemake and DVC ask for the name of the user and for a home folder; a uid of a container may have neither.
ifndef LOGNAME
export LOGNAME := $(or $(shell id -un 2>/dev/null),$(shell id -u))
endif
ifndef HOME
export HOME := $(or $(TMPDIR),/tmp)
endif

.PHONY: help demo test test-fast test-workflow benchmarks lint format params record environment env-slurm \
	env-kubernetes clean-env lock

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## run the demo on generated data, to a finished report
	snakemake --cores $(CORES)
	@echo
	@echo "The report of the demo: $(CURDIR)/data/runs/demo/report.html"

# A file is one process's as a whole, a whole run by itself (tests/conftest.py). Bytecode is kept, also where a container
# asks for none: else each process, and each command that a test starts, compiles 600 files again. One thread each: two
# processes with two threads on two cores wait for each other.
TEST = env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 pytest -n 2 --dist loadscope --no-loadscope-reorder

test: $(READY) ## run all tests, two at a time
	$(TEST) $(PYTEST_ARGS)

test-workflow: $(READY) ## run the tests of whole runs alone
	$(TEST) tests/workflow $(PYTEST_ARGS)

test-fast: $(READY) ## run what every edit should pass: all tests but whole runs and those marked slow
	$(TEST) -m "not slow" tests/unit tests/contract tests/cases tests/fuzz $(PYTEST_ARGS)

lint: $(READY) ## check code and workflow: style, types, Snakemake's own lints
	ruff check
	ruff format --check
	snakefmt --check --line-length 120 $(SMK)
	snakemake --lint
	mypy
	codespell

format: $(READY) ## bring code and workflow into the house style
	ruff check --fix
	ruff format
	snakefmt --line-length 120 $(SMK)

benchmarks: $(READY) ## run the benchmarks and write their figures to docs/performance.md (an hour on two free cores)
	python tests/benchmarks/all.py

params: $(READY) ## write params/base.yaml and params/params.schema.json from src/mgral/config
	python -m mgral.config.reference params

# What Snakemake has recorded is what the steps were given. A result that does not fit the parameters as they stand now
# must not be versioned beside them.
record: $(READY) ## take what snakemake has made into DVC, running nothing [PARAMS=params/bccd.yaml]
	@found=$$(snakemake --cores 1 --dry-run $(CONFIG) 2>&1) || { printf '%s\n' "$$found" >&2; exit 1; }; \
	  printf '%s\n' "$$found" | grep -q '^Nothing to be done' || { \
	  echo "make record: results and parameters of" $(call quoted,$(or $(PARAMS),the demo)) "differ, or are" \
	    "unfinished; first run:" $(call quoted,snakemake --cores all $(CONFIG)). "Another experiment is named by" \
	    "make record PARAMS=params/<name>.yaml" >&2; \
	  exit 1; }
	snakemake --cores 1 --quiet progress host reason --force --drop-metadata $(CONFIG) -- dvc.yaml
	dvc commit --force
	@echo "next: git add dvc.yaml dvc.lock, commit, and dvc push to share the run"

environment: $(READY) ## build .venv

# Each stamp is made last: an interrupted build is done again from the start.
$(PINNED): requirements/all.txt
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed and not on PATH;" \
	  "install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	rm -rf $(VENV)
	$(CREATE) $(VENV)
	$(INSTALL) --require-hashes --requirement requirements/all.txt
	@touch $@

$(READY): $(PINNED) pyproject.toml
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

env-slurm: $(READY) ## add to .venv what profiles/slurm needs
	$(INSTALL) --require-hashes --requirement requirements/slurm.txt

env-kubernetes: $(READY) ## add to .venv what profiles/kubernetes needs
	$(INSTALL) --require-hashes --requirement requirements/kubernetes.txt

clean-env: ## remove .venv
	rm -rf $(VENV)

lock: ## resolve the pins in requirements/ again, but for mmdet's (needs uv)
	$(COMPILE) --extra report --extra workflow --extra s3 --extra dev \
	  pyproject.toml requirements/pins.in --output-file requirements/all.txt
	$(COMPILE) --constraint requirements/all.txt requirements/slurm.in --output-file requirements/slurm.txt
	$(COMPILE) --constraint requirements/all.txt requirements/kubernetes.in --output-file requirements/kubernetes.txt
	$(COMPILE) requirements/docs.in --output-file requirements/docs.txt

include mmdet.mk
include annotation.mk
include docs.mk
