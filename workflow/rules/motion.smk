# Frames -> flow at several gaps and point tracks, one Zarr store per sequence. Both may be shared
# between workflows with `--cache flow tracks`, which a `benchmark` would forbid.


rule flow:
    """Estimate the optical flow of one sequence at every gap."""
    input:
        sequence="results/datasets/{dataset}/{sequence}",
        weights=weights_of,
        parts=parts_of("results/flow/{dataset}/{sequence}/{estimator}.part{part}"),
    output:
        directory("results/flow/{dataset}/{sequence}/{estimator}.zarr"),
    log:
        "logs/flow/{dataset}/{sequence}/{estimator}.log",
    conda:
        "../../envs/lrtl.yaml"
    threads: 1 if not ON_GPU else 4
    resources:
        gpu=int(ON_GPU),
        mem_mb=memory(8000 if ON_GPU else 2000),
        runtime="2h",
    params:
        settings=flags("flow"),
        weights=given("weights"),
        store=lambda wildcards, output: output[0],
        part="",
    shell:
        r"""
        lrtl flow {params.part} \
            --sequence {input.sequence:q} \
            --out {params.store:q} \
            --threads {threads} \
            {params.settings} \
            {params.weights} \
            2>&1 | tee {log:q}
        """


use rule flow as flow_part with:
    # One of the jobs that share a sequence; they fill one partial store, which `flow` finishes.
    input:
        sequence="results/datasets/{dataset}/{sequence}",
        weights=weights_of,
    output:
        temp(touch("results/flow/{dataset}/{sequence}/{estimator}.part{part}")),
    log:
        "logs/flow/{dataset}/{sequence}/{estimator}.part{part}.log",
    benchmark:
        "benchmarks/flow/{dataset}/{sequence}/{estimator}.part{part}.tsv"
    params:
        settings=flags("flow"),
        weights=given("weights"),
        store="results/flow/{dataset}/{sequence}/{estimator}.zarr",
        part=lambda wildcards: f"--part {wildcards.part}/{config['split']}",


rule tracks:
    """Track the query grid of every frame of one sequence."""
    input:
        source=source_of,
        weights=weights_of,
        parts=parts_of("results/tracks/{dataset}/{sequence}/{tracker}.part{part}"),
    output:
        directory("results/tracks/{dataset}/{sequence}/{tracker}.zarr"),
    log:
        "logs/tracks/{dataset}/{sequence}/{tracker}.log",
    conda:
        environment_of
    resources:
        gpu=learned(int(ON_GPU), 0),
        mem_mb=memory(learned(16000, 2000)),
        runtime=learned("12h", "1h"),
    params:
        settings=flags("tracks"),
        weights=given("weights"),
        store=lambda wildcards, output: output[0],
        part="",
    shell:
        r"""
        lrtl tracks {params.part} \
            --source {input.source:q} \
            --out {params.store:q} \
            --threads {threads} \
            {params.settings} \
            {params.weights} \
            2>&1 | tee {log:q}
        """


use rule tracks as tracks_part with:
    # One of the jobs that share a sequence; they fill one partial store, which `tracks` finishes.
    input:
        source=source_of,
        weights=weights_of,
    output:
        temp(touch("results/tracks/{dataset}/{sequence}/{tracker}.part{part}")),
    log:
        "logs/tracks/{dataset}/{sequence}/{tracker}.part{part}.log",
    benchmark:
        "benchmarks/tracks/{dataset}/{sequence}/{tracker}.part{part}.tsv"
    params:
        settings=flags("tracks"),
        weights=given("weights"),
        store="results/tracks/{dataset}/{sequence}/{tracker}.zarr",
        part=lambda wildcards: f"--part {wildcards.part}/{config['split']}",
