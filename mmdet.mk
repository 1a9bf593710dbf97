# The environment of the mmdet detectors. It keeps torch 2.1 and numpy 1, which mmdet 3.3 needs, apart from .venv;
# the two exchange files only.

MMDET_VENV := .venv-mmdet
MMDET_PINNED := $(MMDET_VENV)/.pinned
MMDET_READY := $(MMDET_VENV)/.ready

# mmdet 3.3 with torch 2.1 runs in Python 3.11 and no newer.
MMDET_PYTHON ?= $(shell command -v python3.11 2>/dev/null)

# A folder that holds a wheel of mmcv 2.1.0 with its ops; without one they are compiled (a C++ compiler, half an hour).
MMCV_WHEELS ?= $(wildcard ../shared/wheels)

.PHONY: env-mmdet clean-env-mmdet lock-mmdet

env-mmdet: $(MMDET_READY) ## build .venv-mmdet, for the mmdet detectors [MMCV_WHEELS=folder]

# mmcv is not in requirements/mmdet.txt, where every file has a hash: no registry holds its wheel with ops, each machine
# builds its own against the torch that is installed by then. Hence the step of its own, without isolation. Ops for a
# GPU are compiled where CUDA's compiler is found; wheels without them train on the processor, and SSD300 on a GPU too.
$(MMDET_PINNED): requirements/mmdet.txt
	@test -n "$(MMDET_PYTHON)" || { echo "make: Python 3.11 is needed for mmdet and not on PATH;" \
	  "install it, or name it: make env-mmdet MMDET_PYTHON=/path/to/python3.11" >&2; exit 1; }
	rm -rf $(MMDET_VENV)
	"$(MMDET_PYTHON)" -m venv $(MMDET_VENV)
	$(MMDET_VENV)/bin/python -m pip install --require-hashes --requirement requirements/mmdet.txt
	MMCV_WITH_OPS=1 $(MMDET_VENV)/bin/python -m pip install --no-deps --no-build-isolation \
	  $(if $(MMCV_WHEELS),--find-links "$(MMCV_WHEELS)") mmcv==2.1.0
	$(MMDET_VENV)/bin/python -c 'import mmcv.ops, mmdet.models'
	@touch $@

$(MMDET_READY): $(MMDET_PINNED) pyproject.toml
	$(MMDET_VENV)/bin/python -m pip install --no-deps --no-build-isolation --editable .
	@touch $@

clean-env-mmdet: ## remove .venv-mmdet
	rm -rf $(MMDET_VENV)

lock-mmdet: ## resolve the pins in requirements/mmdet.txt again (needs uv)
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock-mmdet" requirements/mmdet.in --output-file requirements/mmdet.txt
