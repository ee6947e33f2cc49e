#!/usr/bin/env bash
# Run by Snakemake in the new environment, from the folder of the checkout.
set -euo pipefail
pip install --constraint "$PWD/envs/constraints.txt" --editable "$PWD"
pip install --no-deps \
    git+https://github.com/google-deepmind/tapnet@c2cbab81cc06092b5f05bfe2da7bfec54e2079c9
