#!/usr/bin/env bash
# Run by Snakemake in the new environment, from the folder of the checkout.
set -euo pipefail
pip install --constraint "$PWD/envs/constraints.txt" --editable "$PWD"
code="$CONDA_PREFIX/share/pips2"
git clone https://github.com/aharley/pips2 "$code"
git -C "$code" checkout 8b5bd9ecb27274f76f75fcaeff0dbdf13de0b977
echo "$code" > "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pips2.pth"
