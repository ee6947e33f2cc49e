# Videos of rigid objects with exact trajectories: MOVi-F and its stand-in (Table 1, Figure 3).


rule movi_video:
    """Read a video of MOVi-F, or render one of movi_mini."""
    output:
        "results/movi/{dataset}/{video}.npz",
    log:
        "logs/movi_video/{dataset}/{video}.log",
    benchmark:
        "benchmarks/movi_video/{dataset}/{video}.tsv"
    wildcard_constraints:
        dataset="movi|movi_mini",
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(4000),
        runtime="30m",
    params:
        source=lambda wildcards: (
            f"--source {config['movi_source']}"
            if wildcards.dataset == "movi" and config["movi_source"]
            else ""
        ),
    shell:
        r"""
        lrtl movi-video \
            --dataset {wildcards.dataset} \
            --index {wildcards.video} \
            --out {output:q} \
            {params.source} \
            2>&1 | tee {log:q}
        """


rule movi_segment:
    """Segment one video by the trajectory loss alone, or by a baseline of Table 1."""
    input:
        "results/movi/{dataset}/{video}.npz",
    output:
        "results/movi/{dataset}/{method}/{video}.npz",
    log:
        "logs/movi_segment/{dataset}/{method}/{video}.log",
    benchmark:
        "benchmarks/movi_segment/{dataset}/{method}/{video}.tsv"
    wildcard_constraints:
        dataset="movi|movi_mini",
    conda:
        "../../envs/lrtl.yaml"
    resources:
        gpu=lambda wildcards: int(
            wildcards.dataset == "movi" and wildcards.method == "lrtl"
        ),
        mem_mb=memory(lambda wildcards: 16000 if wildcards.dataset == "movi" else 2000),
        runtime=lambda wildcards: "2d" if wildcards.dataset == "movi" else "2h",
    params:
        settings=flags("movi"),
    shell:
        r"""
        lrtl movi-segment \
            --video {input:q} \
            --method {wildcards.method} \
            --out {output:q} \
            --threads {threads} \
            {params.settings} \
            2>&1 | tee {log:q}
        """


rule movi_table:
    """Average the methods' scores over videos, beside the paper's Table 1."""
    input:
        videos=videos("results/movi/{dataset}/{video}.npz"),
        labels=videos("results/movi/{dataset}/{method}/{video}.npz"),
    output:
        table="results/{dataset}_table.csv",
        page=report(
            "results/{dataset}_table.html",
            caption="../report/movi_table.rst",
            category="Tables",
            subcategory="{dataset}",
            labels={"table": "scores"},
        ),
        scores="results/{dataset}_frames.csv",
    log:
        "logs/movi_table/{dataset}.log",
    benchmark:
        "benchmarks/movi_table/{dataset}.tsv"
    wildcard_constraints:
        dataset="movi|movi_mini",
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(4000),
        runtime="1h",
    shell:
        r"""
        lrtl movi-table \
            --videos {input.videos:q} \
            --labels {input.labels:q} \
            --scores {output.scores:q} \
            --table {output.table:q} \
            2>&1 | tee {log:q}
        """


rule movi_landscape:
    """Draw the trajectory loss of corrupted ground truth (Figure 3) and the corruptions."""
    input:
        lambda wildcards: (
            f"results/movi/{wildcards.dataset}/{config['feasibility']['video']}.npz"
        ),
    output:
        figure=report(
            "results/figures/{dataset}_landscape.png",
            caption="../report/movi_landscape.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={"picture": "trajectory loss"},
        ),
        rows="results/figures/{dataset}_landscape.csv",
        masks=report(
            "results/figures/{dataset}_corruptions.png",
            caption="../report/corruptions.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={"picture": "corruptions"},
        ),
    log:
        "logs/movi_landscape/{dataset}.log",
    benchmark:
        "benchmarks/movi_landscape/{dataset}.tsv"
    wildcard_constraints:
        dataset="movi|movi_mini",
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(2000),
        runtime="1h",
    params:
        settings=flags("feasibility"),
    shell:
        r"""
        lrtl movi-landscape \
            --file {input:q} \
            --rows {output.rows:q} \
            --figure {output.figure:q} \
            --masks {output.masks:q} \
            --threads {threads} \
            {params.settings} \
            2>&1 | tee {log:q}
        """


rule movi_mini:
    """Everything of the stand-in for MOVi-F: Table 1 and Figure 3."""
    input:
        "results/movi_mini_table.csv",
        "results/figures/movi_mini_landscape.png",
