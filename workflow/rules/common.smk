# Wildcard constraints and the helpers of the rules; functions stand here alone.
from itertools import chain, product

from lrtl.config import to_flags
from lrtl.datasets import DATASETS
from lrtl.datasets.fetch import ARCHIVES, WEIGHTS
from lrtl.methods import ESTIMATORS, NETWORKS, TRACKERS
from lrtl.settings import as_paper, resolve, run_seeds, sequence_names

# Progress bars that end in log files say how far they are twice a minute. A scheduler that ends a
# job signals all its processes: bash and tee wait for `lrtl`, which puts its work in order.
shell.prefix("export TQDM_MININTERVAL=30; trap '' TERM; ")

# Jobs ask for a GPU at the scale of the papers.
ON_GPU = config["preset"] == "paper"

DINO_WEIGHTS = {
    "dino_vits8": "dino_deitsmall8_pretrain.pth",
    "dino_vitb8": "dino_vitbase8_pretrain.pth",
}


SEQUENCES = {name: dataset.SEQUENCES for name, dataset in DATASETS.items()}
SEQUENCES["clips"] = tuple(config["clips"])


wildcard_constraints:
    dataset="|".join(DATASETS),
    sequence="|".join(sorted(set(chain(*SEQUENCES.values())))),
    experiment=rf"({'|'.join(config['experiments'])})(\.({'|'.join(config['merges'])}))?",
    seed="[0-9]+",
    part="[0-9]+",
    estimator="|".join(ESTIMATORS),
    tracker=f"({'|'.join(TRACKERS)})(-[0-9]+)?",
    archive="|".join(ARCHIVES),
    weights="|".join(WEIGHTS),
    table="|".join(config["paper_tables"]),
    video="[0-9]+",
    method="|".join(config["movi_methods"]),


def settings_of(wildcards):
    """Settings of a job's dataset and experiment; a store's are those it is named after."""
    settings = resolve(config, wildcards.dataset, wildcards.get("experiment"))
    if "estimator" in wildcards.keys():
        settings["flow"]["estimator"] = wildcards.estimator
    if "tracker" in wildcards.keys():
        tracker, _, radius = wildcards.tracker.partition("-")
        settings["tracks"]["tracker"] = tracker
        settings["tracks"]["radius"] = int(radius or settings["tracks"]["radius"])
    return settings


def stores_of(wildcards):
    """Names of the stores of a job: the estimator, the tracker and a radius unlike the dataset's."""
    settings, usual = settings_of(wildcards), resolve(config, wildcards.dataset)
    name, radius = settings["tracks"]["tracker"], settings["tracks"]["radius"]
    tracker = name if radius == usual["tracks"]["radius"] else f"{name}-{radius}"
    return {"estimator": settings["flow"]["estimator"], "tracker": tracker}


def flags(*sections):
    """Params function: sections of the settings of a job's dataset and experiment, as flags."""

    def of(wildcards):
        settings = settings_of(wildcards)
        return " ".join(to_flags(settings[section]) for section in sections)

    return of


def given(*names):
    """Params function: flags of the inputs that a job has, if it has them."""

    def of(wildcards, input):
        paths = {name: getattr(input, name) for name in names}
        return " ".join(
            f"--{name.replace('_', '-')} {path}" for name, path in paths.items() if path
        )

    return of


def trained(experiment):
    """The experiment whose networks another one merges in its own way, or it itself."""
    return experiment.partition(".")[0]


def network_of(wildcards):
    """The files of the run whose network a job uses."""
    experiment = trained(wildcards.experiment)
    run = f"results/runs/{wildcards.dataset}/{experiment}/seed{wildcards.seed}"
    weights, config = f"{run}/weights.safetensors", f"{run}/config.yaml"
    sums = [f"{weights}.sha256", f"{config}.sha256"]
    return {"weights": weights, "config": config, "sums": sums}


def archive_of(wildcards):
    """The archive a sequence is in; none if the dataset makes it itself."""
    return DATASETS[wildcards.dataset].archive_of(wildcards.sequence) or []


def tracker_of(wildcards):
    """What tracks the points of a store."""
    return settings_of(wildcards)["tracks"]["tracker"]


def published(name):
    """Where published weights are fetched to; no file for a method without."""
    return f"resources/weights/{name}" if name else []


def weights_of(wildcards):
    """The checkpoint of a flow estimator or a tracker, if it has one."""
    method = wildcards.get("estimator") or tracker_of(wildcards)
    return published((ESTIMATORS | TRACKERS)[method].weights)


def backbone_weights_of(wildcards):
    """The published weights an experiment's network is built on, if it has some."""
    settings = resolve(config, wildcards.dataset, wildcards.experiment)
    return published(NETWORKS[settings["network"]["network"]].weights)


def affinity_weights_of(wildcards):
    """The checkpoint whose features compare components; none for motion."""
    settings = resolve(config, wildcards.dataset, wildcards.experiment)
    return published(DINO_WEIGHTS.get(settings["merge"]["affinity"]))


def source_of(wildcards):
    """What a tracker follows: flow if it chains flow, else the frames."""
    if tracker_of(wildcards) == "chained_flow":
        flow = "results/flow/{dataset}/{sequence}/{estimator}.zarr"
        return motion(flow)(wildcards)
    return f"results/datasets/{wildcards.dataset}/{wildcards.sequence}"


def environment_of(wildcards):
    """The environment with a tracker's code."""
    return f"../../envs/{TRACKERS[tracker_of(wildcards)].environment}.yaml"


def folder_of(paths):
    """The folder that all of some products are in."""
    return paths[0].rpartition("/")[0]


def first_runs_of(wildcards, masks):
    """The folders of masks of the first seed, one for each experiment."""
    seed = f"/seed{run_seeds(config, wildcards.dataset)[0]}/"
    return list(dict.fromkeys(folder_of([path]) for path in masks if seed in path))


def memory(megabytes):
    """Resource function: a job's memory, and as much again at every further attempt."""

    def of(wildcards, attempt):
        first = megabytes(wildcards) if callable(megabytes) else megabytes
        return first * attempt

    return of


def learned(value, otherwise):
    """Resource function: `value` for a tracker with weights, else `otherwise`."""
    return lambda wildcards: (
        value if TRACKERS[tracker_of(wildcards)].weights else otherwise
    )


def parts_of(pattern):
    """Input function: the marks of the jobs that share a sequence; none if one does it all."""

    def of(wildcards):
        parts = range(1, config["split"] + 1) if config["split"] > 1 else []
        return expand(pattern, part=parts, **wildcards)

    return of


def sequences(dataset, scored=False):
    """The sequences of a dataset, or those with ground truth, that the config leaves."""
    names = sequence_names(config, SEQUENCES[dataset])
    if not scored:
        return names
    names = [name for name in names if name in DATASETS[dataset].SCORED]
    if not names:
        raise ValueError(
            f"the config leaves no sequence of {dataset} that has ground truth"
        )
    return names


def motion(pattern):
    """Input function: `pattern` with the stores of a job's settings."""

    def of(wildcards):
        paths = expand(pattern, **stores_of(wildcards), allow_missing=True)
        return [path.format(**wildcards) for path in paths]

    return of


def each(pattern, scored=False):
    """Input function: `pattern` for every sequence, and where it has them every run, of a dataset."""

    def of(wildcards):
        values = {
            "sequence": sequences(wildcards.dataset, scored),
            "experiment": config["tables"][wildcards.dataset],
            "trained": [trained(name) for name in config["tables"][wildcards.dataset]],
            "seed": run_seeds(config, wildcards.dataset),
        }
        names = values | stores_of(wildcards) | dict(wildcards.items())
        return expand(pattern, **names)

    return of


def merged_as_paper(wildcards):
    """The experiments by which a paper's table is scored as the paper does, in its rows' order."""
    rows = config["paper_tables"][wildcards.table]["rows"].values()
    return [as_paper(config, experiment) for experiment in rows]


def rows_of(pattern):
    """Input function: `pattern` for every run in a paper's table."""

    def of(wildcards):
        table = config["paper_tables"][wildcards.table]
        rows = [*table["rows"].values(), *merged_as_paper(wildcards)]
        return [
            path
            for dataset, experiment in product(table["datasets"], dict.fromkeys(rows))
            for path in expand(
                pattern,
                dataset=dataset,
                experiment=experiment,
                trained=trained(experiment),
                seed=run_seeds(config, dataset),
            )
        ]

    return of


def runs_timed(pattern):
    """Input function: `pattern` for the first seed of the networks of Table 9."""
    return lambda wildcards: expand(
        pattern,
        experiment=dict.fromkeys(
            config["paper_tables"]["lrtl_table9"]["rows"].values()
        ),
        seed=run_seeds(config, "davis")[0],
    )


def foregrounds(dataset):
    """What `lrtl predict` needs of every run of a dataset beside its weights."""
    return expand(
        "results/runs/{dataset}/{experiment}/seed{seed}/foreground.csv",
        dataset=dataset,
        experiment=dict.fromkeys(map(trained, config["tables"][dataset])),
        seed=run_seeds(config, dataset),
    )


def products(dataset):
    """Tables, loss landscape, comparison and training curves of a dataset with ground truth."""
    return [
        *foregrounds(dataset),
        f"results/{dataset}_table.csv",
        f"results/{dataset}_landscape.csv",
        f"results/figures/{dataset}_comparison.png",
        *expand(
            "results/figures/{dataset}/{experiment}/seed{seed}_curves.png",
            dataset=dataset,
            experiment=dict.fromkeys(map(trained, config["tables"][dataset])),
            seed=run_seeds(config, dataset),
        ),
    ]


def pictures_of(dataset):
    """Input function: the pictures of every run of a dataset."""

    def of(wildcards):
        return expand(
            "results/pictures/{dataset}/{experiment}/seed{seed}/{sequence}.mp4",
            dataset=dataset,
            experiment=config["tables"][dataset],
            seed=run_seeds(config, dataset),
            sequence=sequences(dataset),
        )

    return of


def motion_of(dataset):
    """Input function: the sheets of a dataset's flow and tracks."""
    return lambda wildcards: expand(
        "results/pictures/{dataset}/motion/{sequence}.png",
        dataset=dataset,
        sequence=sequences(dataset),
    )


def videos(pattern):
    """Input function: `pattern` for every video of rigid objects, and every method on it."""

    def of(wildcards):
        return expand(
            pattern,
            dataset=wildcards.dataset,
            method=config["movi_methods"],
            video=range(config["movi_videos"]),
        )

    return of
