# Environments of the annotation tools that tests use: a Label Studio on loopback, datumaro, and CVAT's client. The tests
# are skipped without them. The data base of Label Studio is migrated once; each test copies it.

LS_VENV := .venv-annotation
DM_VENV := .venv-datumaro
CVAT_VENV := .venv-cvat

.PHONY: env-annotation clean-env-annotation lock-annotation

env-annotation: $(LS_VENV)/.ready $(DM_VENV)/.ready $(CVAT_VENV)/.ready ## build the environments of Label Studio, datumaro and cvat-cli, for their tests

$(LS_VENV)/.ready: requirements/label-studio.txt
	rm -rf $(LS_VENV)
	$(PYTHON) -m venv $(LS_VENV)
	$(LS_VENV)/bin/python -m pip install --require-hashes --requirement requirements/label-studio.txt
	$(PYTHON) tests/helpers/label_studio_server.py $(LS_VENV)/label-studio
	@touch $@

$(DM_VENV)/.ready: requirements/datumaro.txt
	rm -rf $(DM_VENV)
	$(PYTHON) -m venv $(DM_VENV)
	$(DM_VENV)/bin/python -m pip install --require-hashes --requirement requirements/datumaro.txt
	@touch $@

$(CVAT_VENV)/.ready: requirements/cvat.txt
	rm -rf $(CVAT_VENV)
	$(PYTHON) -m venv $(CVAT_VENV)
	$(CVAT_VENV)/bin/python -m pip install --require-hashes --requirement requirements/cvat.txt
	@touch $@

clean-env-annotation: ## remove them
	rm -rf $(LS_VENV) $(DM_VENV) $(CVAT_VENV)

lock-annotation: ## resolve the pins in requirements/label-studio.txt, datumaro.txt and cvat.txt again (needs uv)
	for name in label-studio datumaro cvat; do uv pip compile --universal --generate-hashes --python-version 3.11 \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock-annotation" \
	  requirements/$$name.in --output-file requirements/$$name.txt || exit 1; done
