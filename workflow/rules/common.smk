# Wildcard constraints and the helpers of the rules; functions stand here alone.
from lrtl.config import RIGID, SEGMENTERS, resolve, run_seeds, sequence_names, to_flags
from lrtl.datasets import DATASETS
from lrtl.datasets.fetch import ARCHIVES, WEIGHTS

# Progress bars that end in log files say how far they are twice a minute.
shell.prefix("export TQDM_MININTERVAL=30; ")

# A GPU job asks for one unless the run is at the scale of a CPU.
ON_GPU = config["preset"] != "cpu"

FLOW_WEIGHTS = {"raft_large": "raft-things.pth", "raft_small": "raft-small.pth"}
TRACKER_WEIGHTS = {
    "cotracker2": "cotracker2.pth",
    "cotracker3_offline": "scaled_offline.pth",
    "cotracker3_online": "scaled_online.pth",
    "tapir": "tapir_checkpoint_panning.pt",
    "bootstapir": "bootstapir_checkpoint_v2.pt",
}


wildcard_constraints:
    dataset="|".join(DATASETS),
    sequence="|".join(sorted({n for d in DATASETS.values() for n in d.SEQUENCES})),
    experiment="|".join(config["experiments"]),
    seed="[0-9]+",
    part="[0-9]+",
    estimator="raft_large|raft_small|dis",
    tracker="chained_flow|" + "|".join(TRACKER_WEIGHTS),
    archive="|".join(ARCHIVES),
    weights="|".join(WEIGHTS),
    video="[0-9]+",
    method="|".join(SEGMENTERS),


def flags(*sections):
    """Params function: sections of the settings of a job's dataset and experiment, as flags."""

    def of(wildcards):
        settings = resolve(config, wildcards.dataset, wildcards.get("experiment"))
        return " ".join(to_flags(settings[section]) for section in sections)

    return of


def archive_of(wildcards):
    """The archive a dataset's frames come from; none if it makes them itself."""
    archive = DATASETS[wildcards.dataset].ARCHIVE
    return f"resources/archives/{archive}" if archive else []


def weights_of(wildcards):
    """The checkpoint of a flow estimator or a tracker; none for DIS and chained flow."""
    method = wildcards.get("estimator") or wildcards.tracker
    name = (FLOW_WEIGHTS | TRACKER_WEIGHTS).get(method)
    return f"resources/weights/{name}" if name else []


def source_of(wildcards):
    """What a tracker follows: flow if it chains flow, else the frames."""
    if wildcards.tracker == "chained_flow":
        flow = "results/flow/{dataset}/{sequence}/{estimator}.zarr"
        return motion(flow)(wildcards)
    return f"results/datasets/{wildcards.dataset}/{wildcards.sequence}"


def environment_of(wildcards):
    """The environment with a tracker's code."""
    if wildcards.tracker.startswith("cotracker"):
        return "../../envs/cotracker.yaml"
    if wildcards.tracker in ("tapir", "bootstapir"):
        return "../../envs/tapnet.yaml"
    return "../../envs/lrtl.yaml"


def learned(value, otherwise):
    """Resource function: `value` for a tracker with weights, else `otherwise`."""
    return lambda wildcards: (
        value if wildcards.tracker in TRACKER_WEIGHTS else otherwise
    )


def parts_of(pattern):
    """Input function: the marks of the jobs that share a sequence; none if one does it all."""

    def of(wildcards):
        parts = range(1, config["split"] + 1) if config["split"] > 1 else []
        return expand(pattern, part=parts, **wildcards)

    return of


def sequences(dataset, scored=False):
    """The sequences of a dataset, or those with ground truth, that the config leaves."""
    names = sequence_names(config, DATASETS[dataset].SEQUENCES)
    if not scored:
        return names
    names = [name for name in names if name in DATASETS[dataset].SCORED]
    if not names:
        raise ValueError(
            f"the config leaves no sequence of {dataset} that has ground truth"
        )
    return names


def motion(pattern):
    """Input function: `pattern` with the estimator and the tracker of the dataset's settings."""

    def of(wildcards):
        settings = resolve(config, wildcards.dataset)
        names = {
            "estimator": settings["flow"]["estimator"],
            "tracker": settings["tracks"]["tracker"],
        }
        return [
            path.format(**wildcards)
            for path in expand(pattern, **names, allow_missing=True)
        ]

    return of


def each(pattern, scored=False):
    """Input function: `pattern` for every sequence, and where it has them every run, of a dataset."""

    def of(wildcards):
        settings = resolve(config, wildcards.dataset)
        values = {
            "sequence": sequences(wildcards.dataset, scored),
            "experiment": config["tables"][wildcards.dataset],
            "seed": run_seeds(config, wildcards.dataset),
            "estimator": settings["flow"]["estimator"],
            "tracker": settings["tracks"]["tracker"],
        }
        return expand(pattern, **(values | dict(wildcards.items())))

    return of


def products(dataset):
    """Input function: all there is to make of a dataset, its tables and the pictures of each run."""

    def of(wildcards):
        pictures = expand(
            "results/pictures/{dataset}/{experiment}/seed{seed}/{sequence}.mp4",
            dataset=dataset,
            experiment=config["tables"][dataset],
            seed=run_seeds(config, dataset),
            sequence=sequences(dataset),
        )
        names = ["table", "landscape"]
        return (
            expand("results/{dataset}_{name}.csv", dataset=dataset, name=names)
            + pictures
        )

    return of


def videos(pattern):
    """Input function: `pattern` for every video of rigid objects, and every method on it."""

    def of(wildcards):
        return expand(
            pattern,
            dataset=wildcards.dataset,
            method=SEGMENTERS,
            video=range(config["movi_videos"]),
        )

    return of
