#!/usr/bin/env bash
# Run by Snakemake in the new environment, from the folder of the checkout.
set -euo pipefail
pip install --constraint "$PWD/envs/constraints.txt" --editable "$PWD"
