# Segmenter -> masks -> scores; ground truth is read by `score` and `landscape` alone.


rule segment:
    """Predict components and merge them to the foreground of one sequence."""
    input:
        unpack(network_of),
        sequence="results/datasets/{dataset}/{sequence}",
        flow=motion("results/flow/{dataset}/{sequence}/{estimator}.zarr"),
        backbone_weights=backbone_weights_of,
        affinity_weights=affinity_weights_of,
    output:
        masks=directory("results/masks/{dataset}/{experiment}/seed{seed}/{sequence}"),
        components=directory(
            "results/components/{dataset}/{experiment}/seed{seed}/{sequence}"
        ),
    log:
        "logs/segment/{dataset}/{experiment}/seed{seed}/{sequence}.log",
    benchmark:
        "benchmarks/segment/{dataset}/{experiment}/seed{seed}/{sequence}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        gpu=int(ON_GPU),
        mem_mb=memory(8000 if ON_GPU else 2000),
        runtime="20m",
    params:
        settings=flags("merge"),
        published=given("backbone_weights", "affinity_weights"),
    shell:
        r"""
        lrtl masks \
            --weights {input.weights:q} \
            --sequence {input.sequence:q} \
            --flow {input.flow:q} \
            --masks {output.masks:q} \
            --components {output.components:q} \
            --threads {threads} \
            {params.settings} \
            {params.published} \
            2>&1 | tee {log:q}
        """


rule foreground:
    """Say how much of each component of one run became foreground, for images without motion."""
    input:
        masks=each("results/masks/{dataset}/{experiment}/seed{seed}/{sequence}"),
        components=each(
            "results/components/{dataset}/{experiment}/seed{seed}/{sequence}"
        ),
    output:
        "results/runs/{dataset}/{experiment}/seed{seed}/foreground.csv",
    log:
        "logs/foreground/{dataset}/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/foreground/{dataset}/{experiment}/seed{seed}.tsv"
    wildcard_constraints:
        experiment="|".join(config["experiments"]),
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    shell:
        r"""
        lrtl foreground \
            --masks {input.masks:q} \
            --components {input.components:q} \
            --out {output:q} \
            2>&1 | tee {log:q}
        """


rule objects:
    """Part the foreground of one sequence into objects whose ids stay the same."""
    input:
        sequence="results/datasets/{dataset}/{sequence}",
        masks="results/masks/{dataset}/{experiment}/seed{seed}/{sequence}",
        tracks=motion("results/tracks/{dataset}/{sequence}/{tracker}.zarr"),
    output:
        directory("results/objects/{dataset}/{experiment}/seed{seed}/{sequence}"),
    log:
        "logs/objects/{dataset}/{experiment}/seed{seed}/{sequence}.log",
    benchmark:
        "benchmarks/objects/{dataset}/{experiment}/seed{seed}/{sequence}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        settings=flags("objects"),
    shell:
        r"""
        lrtl objects \
            --sequence {input.sequence:q} \
            --masks {input.masks:q} \
            --tracks {input.tracks:q} \
            --out {output:q} \
            --threads {threads} \
            {params.settings} \
            2>&1 | tee {log:q}
        """


rule speed:
    """Measure the frames per second of one run's network, on one sequence."""
    input:
        unpack(network_of),
        sequence=lambda wildcards: (
            f"results/datasets/{wildcards.dataset}/{sequences(wildcards.dataset, True)[0]}"
        ),
        backbone_weights=backbone_weights_of,
    output:
        "results/speed/{dataset}/{experiment}/seed{seed}.csv",
    log:
        "logs/speed/{dataset}/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/speed/{dataset}/{experiment}/seed{seed}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    threads: 1 if not ON_GPU else 4
    resources:
        gpu=int(ON_GPU),
        mem_mb=memory(8000 if ON_GPU else 2000),
        runtime="20m",
    params:
        published=given("backbone_weights"),
    shell:
        r"""
        lrtl speed \
            --weights {input.weights:q} \
            --sequence {input.sequence:q} \
            --out {output:q} \
            --threads {threads} \
            {params.published} \
            2>&1 | tee {log:q}
        """


rule score:
    """Score the masks of one run, a row per frame."""
    input:
        sequences=each("results/datasets/{dataset}/{sequence}", scored=True),
        masks=each(
            "results/masks/{dataset}/{experiment}/seed{seed}/{sequence}", scored=True
        ),
        components=each(
            "results/components/{dataset}/{experiment}/seed{seed}/{sequence}",
            scored=True,
        ),
    output:
        "results/scores/{dataset}/{experiment}/seed{seed}.csv",
    log:
        "logs/score/{dataset}/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/score/{dataset}/{experiment}/seed{seed}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    params:
        settings=flags("evaluation"),
        data=lambda wildcards, input: folder_of(input.sequences),
        masks=lambda wildcards, input: folder_of(input.masks),
        components=lambda wildcards, input: folder_of(input.components),
        names=lambda wildcards: ",".join(sequences(wildcards.dataset, scored=True)),
    shell:
        r"""
        lrtl score {params.masks:q} \
            --dataset {wildcards.dataset} \
            --data {params.data:q} \
            --names {params.names} \
            --components {params.components:q} \
            --out {output:q} \
            {params.settings} \
            2>&1 | tee {log:q}
        """


rule landscape:
    """Compare the trajectory loss of the true partition of one sequence with that of others."""
    input:
        sequence="results/datasets/{dataset}/{sequence}",
        tracks=motion("results/tracks/{dataset}/{sequence}/{tracker}.zarr"),
    output:
        "results/landscape/{dataset}/{sequence}.csv",
    log:
        "logs/landscape/{dataset}/{sequence}.log",
    benchmark:
        "benchmarks/landscape/{dataset}/{sequence}.tsv"
    conda:
        "../../envs/lrtl.yaml"
    resources:
        mem_mb=memory(1500),
        runtime="10m",
    params:
        settings=flags("losses"),
    shell:
        r"""
        lrtl landscape \
            --sequence {input.sequence:q} \
            --tracks {input.tracks:q} \
            --out {output:q} \
            --threads {threads} \
            {params.settings} \
            2>&1 | tee {log:q}
        """
