#!/usr/bin/env bash
# Run by Snakemake in the root of the checkout, once the environment exists.
set -euo pipefail

python="$CONDA_PREFIX/bin/python"
"$python" -m pip install --require-hashes -r requirements/all.txt
"$python" -m pip install --no-deps --no-build-isolation -e .
