# From videos to result tables: archives -> frames -> flow -> tracks -> training -> masks -> tables.
from snakemake.utils import min_version

from lrtl.settings import check

min_version("9.27")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


check(config, workflow.source_path("workflow/schemas/config.schema.yaml"))


rule all:
    """Every table of every dataset in the config."""
    input:
        expand(
            "results/{dataset}_table.csv", dataset=config["tables"].keys() - {"clips"}
        ),


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/motion.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/movi.smk"


localrules:
    all,
    clips,
    davis,
    demo,
    fbms59,
    movi_mini,
    segtrackv2,
    tables,
