# What the rules share: the checked parameters, the places of files, and what each step declares.

import hashlib
import importlib
import itertools
import json
import os
import re
import shutil
from functools import cache
from pathlib import Path

from mgral import cli
from mgral.config import loading, schema as parameters
from mgral.core import code_hash as code_hashes, plugins
from mgral.reward import proxy_plan
from mgral.core.errors import MgralError
from mgral.strategies._contract import IN_FILES, modules_of
from snakemake_interface_executor_plugins.settings import DeploymentMethod

if workflow.config_settings.config:  # it would be in no file, so neither DVC nor a clone would know of it
    raise WorkflowError(
        f"--config {', '.join(workflow.config_settings.config)}: parameters are set in files only, which DVC records;"
        " write them to one in params/ and name it with --configfile"
    )

if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method and shutil.which("conda") is None:
    raise WorkflowError(
        "--use-conda: conda is not on PATH; install it (24.7.1 or newer), or leave the flag out and the rules run in"
        " the current environment, which `make environment` builds in .venv"
    )

BASE = "params/base.yaml"
OVERRIDES = [os.path.relpath(path) for path in workflow.configfiles if os.path.relpath(path) != BASE]


def plugin_modules(experiment):
    """Modules that the parameters choose: the format, the detector, the semi-supervised part, the strategies."""
    return [
        f"mgral.data.formats.{experiment.dataset.format}",
        f"mgral.detection.detectors.{experiment.detector.name}",
        f"mgral.reward.semi.{experiment.proxy.semi}",
        *(f"mgral.strategies.{strategy.plugin}" for strategy in experiment.strategies),
    ]


def checked(given, where):
    """The experiment, checked. Raises MgralError.

    The plug-ins judge their options themselves, and to load a detector is to load torch, which takes longer than the
    rest of Snakemake's start. So it is written down which parameters were found sound, by which code.
    """
    experiment = parameters.Params.parse(given, f"{where}:")
    note = Path(".snakemake/checked.json")
    try:
        state = (
            code_hashes.code_hash("mgral.config.loading", *plugin_modules(experiment)) + experiment.model_dump_json()
        )
    except ModuleNotFoundError:
        state = ""  # an unknown plug-in, which the check refuses
    if not note.exists() or note.read_text() != state:
        loading.check(given, where)
        note.parent.mkdir(exist_ok=True)
        note.write_text(state)
    return experiment


try:
    EXPERIMENT = checked(config, ", ".join([BASE, *OVERRIDES]))
except MgralError as error:
    raise WorkflowError(str(error)) from None

RUN = f"data/runs/{EXPERIMENT.experiment}"
RAW = f"data/raw/{EXPERIMENT.experiment}"
CYCLE = f"{RUN}/{{strategy}}/seed-{{seed}}/cycle-{{cycle}}"
OWN_CYCLE = CYCLE.replace("{strategy}", "{label}")
JOB = "{strategy}-{seed}-{cycle}"  # names a job's log and its benchmark

# Whose step it is, for the message of a rule
WHO = "{wildcards.strategy}, seed {wildcards.seed}, cycle {wildcards.cycle}"
WHOSE = WHO.replace("wildcards.strategy", "wildcards.label")

SEEDS = EXPERIMENT.seeds
CYCLES = range(EXPERIMENT.cycles)
LAST = CYCLES[-1]
SELECTING = CYCLES[:-1]  # a selection stands between two cycles; the one after the last is the target `next`
STRATEGIES = {strategy.name: strategy for strategy in EXPERIMENT.strategies}
NEEDS = {label: plugins.load("strategies", strategy.plugin).NEEDS for label, strategy in STRATEGIES.items()}
BASELINES = [label for label in STRATEGIES if not NEEDS[label] & {"agent", "truth"}]  # neither learns nor cheats
SEARCHERS = [label for label in STRATEGIES if "agent" in NEEDS[label]]
REPORT_OWN = [label for label in STRATEGIES if STRATEGIES[label].reports_own]  # the detector they train for themselves

# What lies beside the strategies' folders, for DVC; the rest is the data set and the cycles.
RESULTS = ["curve.csv", "summary.json", "comparison.json", "report.html", "figures", "benchmarks", "logs"]
METRICS = ["summary.json"]
if EXPERIMENT.noise.repeats:
    RESULTS += ["noise.json", "noise"]
    METRICS += ["noise.json"]

# Fixed by a parameter and not by what the machine can spare: the order of sums, and with it the last bits of a
# result, changes with the number of threads. A job gets them from its parameters.
THREADS = EXPERIMENT.machine.threads

# mmdet's detectors have an environment of their own. What trains or runs a detector works there, the rest here.
OWN_ENVIRONMENT = EXPERIMENT.detector.name == "mmdet"
ENV_OF_DETECTOR = "../envs/mmdet.yaml" if OWN_ENVIRONMENT else "../envs/mgral.yaml"
MGRAL = "workflow/scripts/mgral-mmdet" if OWN_ENVIRONMENT else "mgral"

# What holds a detector leases a GPU, if there is one: which one, the job learns when it runs. The command is the same
# with and without GPUs, and the shares (resources) are nothing that Snakemake reruns a step for.
if EXPERIMENT.machine.device != "cpu":
    MGRAL = f"workflow/scripts/lease.py {MGRAL}"

# The share of a job: counted where a run is given GPUs (--resources gpu=2) or must have them; None is no share at all,
# so that a cluster without GPUs is not asked for one.
GIVEN_GPUS = EXPERIMENT.machine.device == "auto" and "gpu" in workflow.global_resources
GPU = 1 if GIVEN_GPUS or EXPERIMENT.machine.device == "cuda" else None

FORMAT, DETECTOR, SEMI, *STRATEGY_MODULES = plugin_modules(EXPERIMENT)
GENERATED = EXPERIMENT.dataset.format == "synthetic"
ANNOTATIONS = {".json", ".xml", ".txt", ".csv", ".yaml", ".yml"}

PARAMETERS = EXPERIMENT.model_dump(mode="json")
if GENERATED:
    PARAMETERS["dataset"]["root"] = RAW


PROXIES = proxy_plan.proxies(EXPERIMENT.proxy)


def home_of(some):
    """Where pool and detector of some proxies lie: those of replay have not seen the images that are held out."""
    return f"{CYCLE}/replay" if some.kind == "replay" else CYCLE


def message_of(some, names):
    """What a job says that trains those of ``names``."""
    many = "1 proxy" if len(names) == 1 else f"{len(names)} proxies"
    return f"{WHO}: train {many} ({some.kind}{', second round' if some.second else ''})"


def records_of(what, second=(False, True)):
    """Records below a cycle's folder: of ``proxies``, ``control`` or ``repeats``, of both rounds or of one."""
    return [
        f"{some.folder}{name}.json"
        for some in PROXIES
        for name in some.names
        if some.second in second and name.startswith(f"{what}/")
    ]


def in_cycle(names):
    return [f"{CYCLE}/{name}" for name in names]


FROZEN = EXPERIMENT.proxy.backbone == "frozen"
STARTED = EXPERIMENT.proxy.start == "detector"  # and not from scratch: then replay needs no detector of its own
DESIGNED = EXPERIMENT.proxy.generators.get("designed", 0) > 0
SEEN_BY_REPLAY = f"{CYCLE}/replay" if DESIGNED and STARTED else CYCLE  # whose detector draws the batches of replay
SCOUT = any(some.second for some in PROXIES)

# Up to the agent, cycle 0 of a seed is the same for every strategy. It is computed once, with 'shared' in the place
# of a strategy, and copied: these files, by the rule that copies them.
OF_DETECTOR = ["pool.json", "detector.safetensors", "metrics.json", "train.csv"]
OF_EVIDENCE = ["embeddings.npz", "detections.npz"]
OF_HELD_OUT = ["replay/embeddings.npz", "replay/detections.npz", "replay/hint.json"]
OF_TABLE = [f"table/{name}" for name in ("records.parquet", "index.faiss", "audit.json")]
OF_SEARCH = ["agent.safetensors", "search.csv", "added.json"]
OF_CARRYING = ["table/records.parquet", "added.json"]
OF_AGENT = [
    *(f"{some.folder}{name}" for some in PROXIES for name in ["batches.json", *(f"{n}.json" for n in some.names)]),
    *(f"replay/{name}" for name in (OF_DETECTOR if STARTED else ["pool.json"]) if "replay" in EXPERIMENT.proxy.kinds),
    *(f"second_round/{name}" for name in [*OF_TABLE, *OF_SEARCH] if SCOUT),
    *OF_TABLE,
    *OF_SEARCH,
]


def one_of(labels):
    """A pattern for the labels; of none at all one that nothing matches."""
    return "|".join(map(re.escape, labels)) or "(?!)"


LABEL = one_of(STRATEGIES)


# {strategy} is who a step is computed for: 'shared' in cycle 0, a label in later ones; in the path of a file
# (shared/seed-1/cycle-0/…) as in the name of a benchmark (shared-1-0.tsv). {label} is a label in any cycle.
wildcard_constraints:
    strategy=rf"shared(?=/seed-\d+/cycle-0/|-\d+-0\b)|(?:{LABEL})(?=/seed-\d+/cycle-[1-9]|-\d+-[1-9])",
    label=LABEL,
    seed=r"\d+",
    cycle=r"\d+",


@cache
def declared(verb, label=None):
    """The parameters that a verb reads, as JSON; of the strategies only the one of ``label``, if given."""
    given = dict(PARAMETERS)
    if label is not None:
        given["strategies"] = [STRATEGIES[label].model_dump(mode="json")]
    schema = getattr(importlib.import_module(cli.module(verb)), "Params", None)
    if schema is not None:
        given = loading.sections(schema, given, "parameters").model_dump(mode="json")
    return json.dumps(given, sort_keys=True)


def settings(verb):
    """The parameters that a verb reads, by value, so that what Snakemake records is what the step was given.

    The verb's own schema says which these are: a step cannot read what its rule does not declare. The answer is
    a function, since Snakemake looks for wildcards between the braces of a plain text.
    """
    return lambda wildcards: declared(verb, wildcards.get("label"))


@cache
def code(verb, *plugins):
    """A hash of the code that a verb runs, and of the plug-ins that the parameters choose for it."""
    return code_hashes.code_hash(cli.module(verb), *plugins)


def code_of_strategy(wildcards):
    return code("select", *modules_of(STRATEGIES[wildcards.label]))


def code_of_scores(wildcards):
    return code("score", f"mgral.strategies.{STRATEGIES[wildcards.label].plugin}", DETECTOR)


def each(name, labels=STRATEGIES, cycles=CYCLES):
    """A file of every cycle and seed of some strategies."""
    return expand(f"{CYCLE}/{name}", strategy=labels, seed=SEEDS, cycle=cycles)


def shared(names):
    return [f"{RUN}/shared/seed-{{seed}}/cycle-0/{name}" for name in names]


def own(names):
    return [f"{RUN}/{{label}}/seed-{{seed}}/cycle-0/{name}" for name in names]


def previous(name):
    """A file of the cycle before."""

    def path(wildcards):
        folder = CYCLE.format(strategy=wildcards.strategy, seed=wildcards.seed, cycle=int(wildcards.cycle) - 1)
        return f"{folder}/{name}"

    return path


def carried(wildcards):
    """The records of earlier cycles that stay in the table of this one (``table.carry``)."""
    cycle = int(wildcards.cycle)
    earlier = range(max(0, cycle - EXPERIMENT.table.carry), cycle)
    folders = [CYCLE.format(strategy=wildcards.strategy, seed=wildcards.seed, cycle=one) for one in earlier]
    return [f"{folder}/{name}" for folder in folders for name in OF_CARRYING]


def evidence(wildcards):
    """The files that a strategy looks at. What no strategy needs is not made."""
    names = {
        "embeddings": "embeddings.npz",
        "detections": "detections.npz",
        "agent": "agent.safetensors",
        "image_scores": "image_scores.npz",
        "competence": "metrics.json",
        "held_out": "replay/detections.npz",
    }
    folder = OWN_CYCLE.format(**wildcards)
    return {need: f"{folder}/{names[need]}" for need in sorted(NEEDS[wildcards.label] & IN_FILES)}


def evidence_options(wildcards):
    return [
        text for need, path in evidence(wildcards).items() for text in (f"--{need.replace(chr(95), chr(45))}", path)
    ]


def source_images():
    """The images of the generated data set. Others are taken as they are: there may be a hundred thousand."""
    if not GENERATED:
        return []
    from mgral.data.formats import synthetic

    names = synthetic.image_names(synthetic.Options.parse(EXPERIMENT.dataset.options, "dataset.options"))
    return [f"{RAW}/{name}" for name in names]


@cache
def source_files():
    """The annotation files of the user's data set, and a hash over names and sizes of all its other files.

    An option may name a file that lies elsewhere (``annotations: ../labels.json``).
    """
    root = Path(EXPERIMENT.dataset.root)
    options = EXPERIMENT.dataset.options.values()
    texts = [text for value in options for text in (value.values() if isinstance(value, dict) else [value])]
    named = [root / text for text in texts if isinstance(text, str)]
    files, seen = set(), {os.path.realpath(root)}
    for folder, below, names in os.walk(root, followlinks=True):
        files |= {path for path in (Path(folder, name) for name in names) if path.is_file()}
        real = {name: os.path.realpath(os.path.join(folder, name)) for name in below}
        below[:] = [name for name in below if real[name] not in seen]  # a ring of links is walked once
        seen |= set(real.values())
    annotations = {path for path in files if path.suffix.lower() in ANNOTATIONS}
    listing = sorted((str(path.relative_to(root)), path.stat().st_size) for path in files - annotations)
    annotations |= {path for path in named if path.is_file()}
    return sorted({os.path.normpath(path) for path in annotations}), hashlib.sha256(repr(listing).encode()).hexdigest()


def source_annotations(wildcards):
    """The annotation files of the data set, so that an edited one is noticed."""
    return [f"{RAW}/annotations.json"] if GENERATED else source_files()[0]


def source_listing(wildcards):
    """What changes when an image is added, taken away or replaced by one of another size in bytes."""
    return None if GENERATED else source_files()[1]


def source_roots(wildcards):
    """The folders and files that hold the annotations of the user's data set, for DVC: few, and as far down as can be."""
    if GENERATED:
        return []
    root = Path(os.path.normpath(EXPERIMENT.dataset.root))
    places = set()
    for path in map(Path, source_files()[0]):
        below = path.relative_to(root).parts if path.is_relative_to(root) else ()
        places.add(root / below[0] if below else path)
    return sorted(map(str, places))


def shared_targets():
    """Of what is shared in cycle 0, the files that the rest is made on the way to."""
    needs = frozenset().union(*NEEDS.values()) if SELECTING else frozenset()
    held_out = ["replay/detections.npz"] if "held_out" in needs else []
    if "agent" in needs:
        return ["agent.safetensors", *held_out]
    if {"embeddings", "detections"} & needs:
        return ["metrics.json", "embeddings.npz", *held_out]
    return ["metrics.json"]


def tracked_cycles():
    """Every cycle of every strategy and seed: its folder, the last files made there, and what it follows.

    A table of carried records follows those of all earlier cycles: each of them in the table of the next.
    """
    for label, seed, cycle in itertools.product(STRATEGIES, SEEDS, CYCLES):
        folder = CYCLE.format(strategy=label, seed=seed, cycle=cycle)
        before = CYCLE.format(strategy=label, seed=seed, cycle=cycle - 1)
        carries = label in SEARCHERS and EXPERIMENT.table.carry
        after = (before if carries else f"{before}/selected.json") if cycle else f"{RUN}/shared/seed-{seed}/cycle-0"
        files = ["metrics.json"]
        files += ["own.json"] if label in REPORT_OWN else []
        files += ["selected.json"] if cycle in SELECTING else []
        yield {
            "name": f"{label}-{seed}-{cycle}",
            "folder": folder,
            "files": files,
            "after": after,
        }


def searched_folders():
    """The cycles in which an agent was trained, by strategy; of the first seed, as in the report's gallery."""
    if not SELECTING:
        return {}
    return {
        label: [CYCLE.format(strategy=label, seed=SEEDS[0], cycle=cycle) for cycle in SELECTING] for label in SEARCHERS
    }
