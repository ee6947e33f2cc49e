# Frames, flow and tracks of a dataset -> a segmenter; one run is dataset x experiment x seed.


rule train:
    """Train a segmenter on every sequence of a dataset."""
    input:
        sequences=each("results/datasets/{dataset}/{sequence}"),
        flow=each("results/flow/{dataset}/{sequence}/{estimator}.zarr"),
        tracks=each("results/tracks/{dataset}/{sequence}/{tracker}.zarr"),
        backbone_weights=backbone_weights_of,
    output:
        weights="results/runs/{dataset}/{experiment}/seed{seed}/weights.safetensors",
        metrics="results/runs/{dataset}/{experiment}/seed{seed}/metrics.csv",
        config=report(
            "results/runs/{dataset}/{experiment}/seed{seed}/config.yaml",
            caption="../report/settings.rst",
            category="Training",
            subcategory="{dataset}",
            labels={
                "product": "settings",
                "experiment": "{experiment}",
                "seed": "{seed}",
            },
        ),
        sums=multiext(
            "results/runs/{dataset}/{experiment}/seed{seed}/",
            "weights.safetensors.sha256",
            "metrics.csv.sha256",
            "config.yaml.sha256",
        ),
    log:
        "logs/train/{dataset}/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/train/{dataset}/{experiment}/seed{seed}.tsv"
    wildcard_constraints:
        experiment="|".join(config["experiments"]),
    conda:
        "../../envs/lrtl.yaml"
    threads: 1 if not ON_GPU else 4
    resources:
        gpu=int(ON_GPU),
        mem_mb=memory(16000 if ON_GPU else 8000),
        runtime="12h",
    params:
        settings=flags("network", "losses", "training"),
        published=given("backbone_weights"),
        out=lambda wildcards, output: output.weights.rpartition("/")[0],
    shell:
        r"""
        lrtl train \
            --sequences {input.sequences:q} \
            --flow {input.flow:q} \
            --tracks {input.tracks:q} \
            --out {params.out:q} \
            --seed {wildcards.seed} \
            --threads {threads} \
            {params.settings} \
            {params.published} \
            2>&1 | tee {log:q}
        """
