# From videos to result tables: archives -> frames -> flow -> tracks -> training -> masks -> tables.
from snakemake.utils import min_version, validate

min_version("9.27")


configfile: "config.yaml"


validate(config, "workflow/schemas/config.schema.yaml", set_default=False)


rule all:
    """Every table of every dataset in the config."""
    input:
        expand("results/{dataset}_table.csv", dataset=config["tables"]),


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/motion.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"


localrules:
    all,
    davis,
    demo,
