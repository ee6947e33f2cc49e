# Published files -> frames and masks in one common layout.


rule fetch_archive:
    """Fetch a dataset's archive from the mirror or its official address."""
    output:
        "resources/archives/{archive}",
    log:
        "logs/fetch/{archive}.log",
    benchmark:
        "benchmarks/fetch/{archive}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(1000),
        runtime="12h",
    params:
        mirror=lambda wildcards: (
            f"--mirror {config['mirror']}" if config["mirror"] else ""
        ),
    shell:
        r"""
        lrtl fetch \
            --name {wildcards.archive} \
            --out {output:q} \
            {params.mirror} \
            2>&1 | tee {log:q}
        """


rule fetch_weights:
    """Fetch published weights from the mirror or their official address."""
    output:
        "resources/weights/{weights}",
    log:
        "logs/fetch/{weights}.log",
    benchmark:
        "benchmarks/fetch/{weights}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(1000),
        runtime="2h",
    params:
        mirror=lambda wildcards: (
            f"--mirror {config['mirror']}" if config["mirror"] else ""
        ),
    shell:
        r"""
        lrtl fetch \
            --name {wildcards.weights} \
            --out {output:q} \
            {params.mirror} \
            2>&1 | tee {log:q}
        """


rule prepare:
    """Lay out the frames and masks of one sequence."""
    input:
        archive=archive_of,
    output:
        directory("results/datasets/{dataset}/{sequence}"),
    log:
        "logs/prepare/{dataset}/{sequence}.log",
    benchmark:
        "benchmarks/prepare/{dataset}/{sequence}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(1500),
        runtime="10m",
    params:
        archive=given("archive"),
    shell:
        r"""
        lrtl prepare \
            --dataset {wildcards.dataset} \
            --sequence {wildcards.sequence} \
            --out {output:q} \
            {params.archive} \
            2>&1 | tee {log:q}
        """
