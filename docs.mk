# The docs site and the lists in it. Its tools have an environment of their own: they need none of the package's.

DOCS_VENV := .venv-docs
DOCS_READY := $(DOCS_VENV)/.ready
PAGES := README.md $(wildcard docs/*.md docs/*/*.md)

.PHONY: docs docs-lists

docs: docs-lists $(DOCS_READY) ## build the docs site, site/index.html
	$(DOCS_VENV)/bin/zensical build --clean --strict

docs-lists: $(READY) ## write the lists in README and docs from the code
	python -m mgral.cli._lists $(PAGES)

$(DOCS_READY): requirements/docs.txt
	rm -rf $(DOCS_VENV)
	$(if $(UV),"$(UV)" venv --python "$(PYTHON)",$(VENV)/bin/python -m venv) $(DOCS_VENV)
	$(if $(UV),"$(UV)" pip install --python $(DOCS_VENV)/bin/python,$(DOCS_VENV)/bin/python -m pip install) \
	  --require-hashes --requirement requirements/docs.txt
	@touch $@
