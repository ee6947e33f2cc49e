# Frames -> flow at several gaps and point tracks, one Zarr store per sequence.


rule flow:
    """Estimate the optical flow of one sequence at every gap."""
    input:
        sequence="results/datasets/{dataset}/{sequence}",
        weights=weights_of,
    output:
        directory("results/flow/{dataset}/{sequence}/{estimator}.zarr"),
    log:
        "logs/flow/{dataset}/{sequence}/{estimator}.log",
    benchmark:
        "benchmarks/flow/{dataset}/{sequence}/{estimator}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    threads: 1 if not ON_GPU else 4
    resources:
        gpu=int(ON_GPU),
        mem_mb=8000,
        runtime="2h",
    params:
        settings=flags("flow"),
        weights=lambda wildcards, input: (
            f"--weights {input.weights}" if input.weights else ""
        ),
    shell:
        r"""
        lrtl flow \
            --sequence {input.sequence:q} \
            --out {output:q} \
            --threads {threads} \
            {params.settings} \
            {params.weights} \
            2>&1 | tee {log:q}
        """


rule tracks:
    """Track the query grid of every frame of one sequence."""
    input:
        source=source_of,
        weights=weights_of,
    output:
        directory("results/tracks/{dataset}/{sequence}/{tracker}.zarr"),
    log:
        "logs/tracks/{dataset}/{sequence}/{tracker}.log",
    benchmark:
        "benchmarks/tracks/{dataset}/{sequence}/{tracker}.tsv"
    conda:
        learned("../../envs/cotracker.yaml", "../../envs/lrtl.yaml")
    resources:
        gpu=learned(int(ON_GPU), 0),
        mem_mb=learned(16000, 4000),
        runtime=learned("12h", "2h"),
    params:
        settings=flags("tracks"),
        weights=lambda wildcards, input: (
            f"--weights {input.weights}" if input.weights else ""
        ),
    shell:
        r"""
        lrtl tracks \
            --source {input.source:q} \
            --out {output:q} \
            --threads {threads} \
            {params.settings} \
            {params.weights} \
            2>&1 | tee {log:q}
        """
