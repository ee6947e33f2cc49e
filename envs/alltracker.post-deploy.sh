#!/usr/bin/env bash
# Run by Snakemake in the new environment, from the folder of the checkout.
set -euo pipefail
pip install --constraint "$PWD/envs/constraints.txt" --editable "$PWD"
code="$CONDA_PREFIX/share/alltracker"
git clone https://github.com/aharley/alltracker "$code"
git -C "$code" checkout c1ed462b7cfe9b4c6d07d8880ae5ed103b0848e0
echo "$code" > "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/alltracker.pth"
