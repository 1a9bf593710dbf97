#!/usr/bin/env bash
# Run by Snakemake in the root of the checkout, once the environment exists. MMCV_WHEELS names a folder that holds a
# wheel of mmcv 2.1.0 with its ops; without one they are compiled. No registry has that wheel, hence no hash.
set -euo pipefail

python="$CONDA_PREFIX/bin/python"
wheels="${MMCV_WHEELS-../shared/wheels}"
links=()
if [[ -n "$wheels" && -d "$wheels" ]]; then
  links=(--find-links "$wheels")
fi

"$python" -m pip install --require-hashes -r requirements/mmdet.txt
MMCV_WITH_OPS=1 "$python" -m pip install --no-deps --no-build-isolation "${links[@]}" mmcv==2.1.0
"$python" -m pip install --no-deps --no-build-isolation -e .
"$python" -c 'import mmcv.ops, mmdet.models'
