# Scores -> tables and pictures.


rule table:
    """Average a dataset's scores over seeds, beside the papers' figures."""
    input:
        scores=each("results/scores/{dataset}/{experiment}/seed{seed}.csv"),
        runs=each("results/runs/{dataset}/{trained}/seed{seed}/config.yaml"),
    output:
        table="results/{dataset}_table.csv",
        sequences="results/{dataset}_sequences.csv",
        table_page=report(
            "results/{dataset}_table.html",
            caption="../report/table.rst",
            category="Tables",
            subcategory="{dataset}",
            labels={"table": "scores"},
        ),
        sequences_page=report(
            "results/{dataset}_sequences.html",
            caption="../report/sequences.rst",
            category="Sequences",
            subcategory="{dataset}",
            labels={"table": "scores"},
        ),
    log:
        "logs/table/{dataset}.log",
    benchmark:
        "benchmarks/table/{dataset}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(1000),
        runtime="10m",
    shell:
        r"""
        lrtl table \
            --dataset {wildcards.dataset} \
            --scores {input.scores:q} \
            --runs {input.runs:q} \
            --table {output.table:q} \
            --sequences {output.sequences:q} \
            2>&1 | tee {log:q}
        """


rule paper_table:
    """Repeat a table of a paper, its figures beside."""
    input:
        scores=rows_of("results/scores/{dataset}/{experiment}/seed{seed}.csv"),
        runs=rows_of("results/runs/{dataset}/{trained}/seed{seed}/config.yaml"),
    output:
        csv="results/tables/{table}.csv",
        markdown="results/tables/{table}.md",
        latex="results/tables/{table}.tex",
        page=report(
            "results/tables/{table}.html",
            caption="../report/paper_table.rst",
            category="Tables",
            subcategory="papers",
            labels={"table": "{table}"},
        ),
    log:
        "logs/paper_table/{table}.log",
    benchmark:
        "benchmarks/paper_table/{table}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(1000),
        runtime="10m",
    params:
        rows=lambda wildcards: list(config["paper_tables"][wildcards.table]["rows"]),
        experiments=lambda wildcards: list(
            config["paper_tables"][wildcards.table]["rows"].values()
        ),
        as_paper=merged_as_paper,
    shell:
        r"""
        lrtl paper-table \
            --name {wildcards.table} \
            --rows {params.rows:q} \
            --experiments {params.experiments} \
            --as-paper {params.as_paper} \
            --scores {input.scores:q} \
            --runs {input.runs:q} \
            --out {output.csv:q} \
            2>&1 | tee {log:q}
        """


rule speed_table:
    """Collect the frames per second of the networks of Table 9."""
    input:
        runs_timed("results/speed/davis/{experiment}/seed{seed}.csv"),
    output:
        csv="results/tables/lrtl_speed.csv",
        markdown="results/tables/lrtl_speed.md",
        latex="results/tables/lrtl_speed.tex",
        page=report(
            "results/tables/lrtl_speed.html",
            caption="../report/speed.rst",
            category="Tables",
            subcategory="papers",
            labels={"table": "lrtl_speed"},
        ),
    log:
        "logs/speed_table.log",
    benchmark:
        "benchmarks/speed_table.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(1000),
        runtime="10m",
    shell:
        r"""
        lrtl speed-table \
            --rows {input:q} \
            --out {output.csv:q} \
            2>&1 | tee {log:q}
        """


rule landscape_table:
    """Collect the trajectory-loss landscape of a dataset's scored sequences."""
    input:
        each("results/landscape/{dataset}/{sequence}.csv", scored=True),
    output:
        table="results/{dataset}_landscape.csv",
        page=report(
            "results/{dataset}_landscape.html",
            caption="../report/landscape.rst",
            category="Sequences",
            subcategory="{dataset}",
            labels={"table": "trajectory loss"},
        ),
    log:
        "logs/landscape_table/{dataset}.log",
    benchmark:
        "benchmarks/landscape_table/{dataset}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(1000),
        runtime="10m",
    shell:
        r"""
        lrtl landscape-table \
            --rows {input:q} \
            --out {output.table:q} \
            2>&1 | tee {log:q}
        """


rule pictures:
    """Draw the overlay video and the contact sheet of one sequence."""
    input:
        sequence="results/datasets/{dataset}/{sequence}",
        masks="results/masks/{dataset}/{experiment}/seed{seed}/{sequence}",
        components="results/components/{dataset}/{experiment}/seed{seed}/{sequence}",
        objects="results/objects/{dataset}/{experiment}/seed{seed}/{sequence}",
    output:
        overlay="results/pictures/{dataset}/{experiment}/seed{seed}/{sequence}.mp4",
        overlay_page=report(
            "results/pictures/{dataset}/{experiment}/seed{seed}/{sequence}.html",
            caption="../report/overlay.rst",
            category="Videos",
            subcategory="{dataset}",
            labels={
                "sequence": "{sequence}",
                "experiment": "{experiment}",
                "seed": "{seed}",
            },
        ),
        sheet=report(
            "results/pictures/{dataset}/{experiment}/seed{seed}/{sequence}.png",
            caption="../report/sheet.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={
                "picture": "contact sheet",
                "sequence": "{sequence}",
                "experiment": "{experiment}",
                "seed": "{seed}",
            },
        ),
    log:
        "logs/pictures/{dataset}/{experiment}/seed{seed}/{sequence}.log",
    benchmark:
        "benchmarks/pictures/{dataset}/{experiment}/seed{seed}/{sequence}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(1500),
        runtime="20m",
    shell:
        r"""
        lrtl pictures \
            --sequence {input.sequence:q} \
            --masks {input.masks:q} \
            --components {input.components:q} \
            --objects {input.objects:q} \
            --overlay {output.overlay:q} \
            --sheet {output.sheet:q} \
            2>&1 | tee {log:q}
        """


rule motion_sheet:
    """Draw the flow and the tracks of one sequence."""
    input:
        sequence="results/datasets/{dataset}/{sequence}",
        flow=motion("results/flow/{dataset}/{sequence}/{estimator}.zarr"),
        tracks=motion("results/tracks/{dataset}/{sequence}/{tracker}.zarr"),
    output:
        report(
            "results/pictures/{dataset}/motion/{sequence}.png",
            caption="../report/motion.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={"picture": "motion", "sequence": "{sequence}"},
        ),
    log:
        "logs/motion_sheet/{dataset}/{sequence}.log",
    benchmark:
        "benchmarks/motion_sheet/{dataset}/{sequence}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(2000),
        runtime="10m",
    shell:
        r"""
        lrtl motion-sheet \
            --sequence {input.sequence:q} \
            --flow {input.flow:q} \
            --tracks {input.tracks:q} \
            --out {output:q} \
            2>&1 | tee {log:q}
        """


rule curves:
    """Draw the training curves of one run."""
    input:
        "results/runs/{dataset}/{experiment}/seed{seed}/metrics.csv",
    output:
        report(
            "results/figures/{dataset}/{experiment}/seed{seed}_curves.png",
            caption="../report/curves.rst",
            category="Training",
            subcategory="{dataset}",
            labels={
                "product": "curves",
                "experiment": "{experiment}",
                "seed": "{seed}",
            },
        ),
    log:
        "logs/curves/{dataset}/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/curves/{dataset}/{experiment}/seed{seed}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(1000),
        runtime="10m",
    shell:
        r"""
        lrtl show {input:q} --out {output:q} \
            2>&1 | tee {log:q}
        """


rule comparison:
    """Draw the experiments of a dataset side by side."""
    input:
        sequences=each("results/datasets/{dataset}/{sequence}", scored=True),
        masks=each(
            "results/masks/{dataset}/{experiment}/seed{seed}/{sequence}", scored=True
        ),
    output:
        report(
            "results/figures/{dataset}_comparison.png",
            caption="../report/comparison.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={"picture": "comparison"},
        ),
    log:
        "logs/comparison/{dataset}.log",
    benchmark:
        "benchmarks/comparison/{dataset}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(1500),
        runtime="20m",
    params:
        runs=lambda wildcards, input: first_runs_of(wildcards, input.masks),
    shell:
        r"""
        lrtl comparison \
            --sequences {input.sequences:q} \
            --runs {params.runs:q} \
            --title {wildcards.dataset} \
            --out {output:q} \
            2>&1 | tee {log:q}
        """


rule demo:
    """Everything of the embedded demo: tables, loss landscape and pictures."""
    input:
        products("demo"),
        pictures_of("demo"),
        motion_of("demo"),


rule davis:
    """Everything of DAVIS-2016: tables, loss landscape and pictures."""
    input:
        products("davis"),
        pictures_of("davis"),
        motion_of("davis"),


rule segtrackv2:
    """Everything of SegTrackv2: tables, loss landscape and pictures."""
    input:
        products("segtrackv2"),
        pictures_of("segtrackv2"),
        motion_of("segtrackv2"),


rule fbms59:
    """Everything of FBMS-59: tables, loss landscape and pictures."""
    input:
        products("fbms59"),
        pictures_of("fbms59"),
        motion_of("fbms59"),


rule clips:
    """The masks and pictures of somebody's own clips."""
    input:
        pictures_of("clips"),
        foregrounds("clips"),


rule tables:
    """Every table of a paper that the config repeats, and the networks' speed."""
    input:
        expand("results/tables/{table}.csv", table=config["paper_tables"]),
        "results/tables/lrtl_speed.csv",
