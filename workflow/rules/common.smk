# What the rules share: the checked experiment, the places of its files, and what each step declares. What can be
# computed without Snakemake is in mgral.core.run_layout, mgral.planning.run_plan and mgral.planning.step_inputs.

import getpass
import os
import shlex
import shutil
import sys
from pathlib import Path

from mgral import cli
from mgral.config import loading, schema
from mgral.core import run_layout
from mgral.core.errors import MgralError
from mgral.core.run_layout import SECOND
from mgral.data import source_files
from mgral.planning import sufficiency, waiting
from mgral.planning.requests import REQUESTS, pool_size
from mgral.planning.run_plan import RunPlan, home, one_of
from mgral.planning.step_inputs import StepInputs
from mgral.reward import proxy_plan
from mgral.strategies._contract import IN_FILES, kept_for, modules_of
from snakemake_interface_executor_plugins.settings import DeploymentMethod

try:
    getpass.getuser()
except (KeyError, OSError):  # a uid without a name, as in containers; Snakemake names the user in its log
    os.environ.update(LOGNAME=f"uid-{os.getuid()}")

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
CONFIGFILES = ["--configfile", *OVERRIDES] if OVERRIDES else []

try:
    EXPERIMENT = loading.check(config, ", ".join([BASE, *OVERRIDES]))
    PLAN = RunPlan(EXPERIMENT)
    WAITING = waiting.line(PLAN, [BASE, *OVERRIDES])
    NOTICES = [text for text in (WAITING, sufficiency.line(PLAN)) if text]
except MgralError as error:
    raise WorkflowError(str(error)) from None

if NOTICES and workflow.is_main_process:  # not at the end: Snakemake says nothing where nothing is to be done
    print("\n".join(NOTICES), file=sys.stderr)

INPUTS = StepInputs(PLAN.parameters(), PLAN.strategies)
READ = {label: kept_for(strategy) for label, strategy in PLAN.strategies.items()}  # of detections
FORMAT, DETECTOR, SEMI, *STRATEGY_MODULES = PLAN.plugin_modules()
SOURCE = None if PLAN.generated else source_files.find(EXPERIMENT.dataset)
# A replaced image is noticed. Of registered ones each batch notes the sha256, and an image more trains nothing again.
LISTING = SOURCE.listing if SOURCE and not PLAN.registered else None

# Files of the run, and of a cycle. {strategy} is who a step is computed for: 'shared' in cycle 0, a label in later
# ones; in the path of a file (shared/seed-1/cycle-0/…) as in the name of a job (shared-1-0). {label} is a label in any
# cycle. {part} is a round and kind of records, see run_layout.PARTS.
RUN = run_layout.RUN.below(f"{PLAN.run}/")
FOLDER = run_layout.cycle_folder(PLAN.run)
CYCLE = run_layout.CYCLE.below(f"{FOLDER}/")
PART = run_layout.CYCLE.below(f"{FOLDER}/{{part}}")
OWN = run_layout.CYCLE.below(f"{run_layout.cycle_folder(PLAN.run, '{label}')}/")
REPLAY = run_layout.CYCLE.below(f"{FOLDER}/{run_layout.REPLAY}")
OWN_REPLAY = run_layout.CYCLE.below(f"{run_layout.cycle_folder(PLAN.run, '{label}')}/{run_layout.REPLAY}")

# Of a backbone that is no part of the detector: its weights, and what embeds by it reads.
WEIGHTS_OF_BACKBONE = [EXPERIMENT.embedding.weights] if PLAN.reads_weights else []
FOUNDATION = {"foundation": RUN.foundation} if PLAN.by_backbone else {}

REPEAT = f"{PLAN.run}/{run_layout.retrained()}"
LABEL = one_of(PLAN.strategies)


wildcard_constraints:
    strategy=rf"shared(?=/seed-\d+/cycle-0/|-\d+-0\b)|(?:{LABEL})(?=/seed-\d+/cycle-[1-9]|-\d+-[1-9])",
    label=LABEL,
    seed=r"\d+",
    cycle=r"\d+",
    part="|".join(run_layout.PARTS),


# The name of a job, and whose it is for its message.
JOB = "{strategy}-{seed}-{cycle}"
PART_JOB = f"{{part}}{JOB}"
OWN_JOB = "{label}-{seed}-{cycle}"
WHO = "{wildcards.strategy}, seed {wildcards.seed}, cycle {wildcards.cycle}"
OWN_WHO = WHO.replace("wildcards.strategy", "wildcards.label")

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


def requested(rule):
    """Memory and time of a step that grow with the pool; without its files, those of the profile."""
    request = REQUESTS[rule]

    def images(input):
        some = {name: Path(input.get(name)) for name in ("images", "embeddings") if input.get(name)}
        half = EXPERIMENT.embedding.precision == "float16"
        return pool_size(some.get("images"), some.get("embeddings"), EXPERIMENT.image_size, half)

    def times(of, attempt, input):
        return of(images(input) or 0) * attempt

    return {
        "mem_mb": lambda wildcards, input, attempt: times(request.memory, attempt, input),
        "runtime": lambda wildcards, input, attempt: times(request.runtime, attempt, input),
    }


def step(verb, *plugins):
    """The parameters of a verb by value, and a hash of its code: what a rule declares beside its input files.

    Snakemake records these and runs the step again when they change. It ignores what is derived from the output: the
    file that holds the same parameters for the command, and the part for the message.
    """
    name = cli.module(verb)
    return {
        "settings": lambda wildcards: INPUTS.parameters(name, wildcards.get("label")),
        "code": INPUTS.code(name, *plugins),
        "file": lambda wildcards, output: INPUTS.file(name, wildcards.get("label")),
        "of": lambda wildcards, output: run_layout.part_in_words(wildcards.get("part", "")),
    }


def code_of_strategy(verb, *plugins):
    """The same hash for a step of one strategy: of the verb, the strategy's plug-in and more plug-ins."""
    return lambda wildcards: INPUTS.code(cli.module(verb), *modules_of(PLAN.strategies[wildcards.label]), *plugins)


def log_of(step, job="all"):
    return run_layout.log(PLAN.run, step, job)


def benchmark_of(step, job="all"):
    return run_layout.benchmark(PLAN.run, step, job)


def each(path, labels=PLAN.strategies, cycles=PLAN.cycles):
    """A file of every cycle and seed of some strategies."""
    return expand(path, strategy=labels, seed=EXPERIMENT.seeds, cycle=cycles)


NEXT_BATCHES = each(CYCLE.selected, cycles=PLAN.cycles[-1:])


def next_batches(wildcards):
    """The batches after the last cycle, where they are asked for or chosen: the report shows them and follows them.

    Of a run that waits for people they are chosen on the way, so that the next start finds the same input.
    """
    wanted = WAITING or "next" in workflow.dag_settings.targets or any(map(os.path.exists, NEXT_BATCHES))
    return NEXT_BATCHES if wanted else []


def in_cycle(names):
    return [f"{FOLDER}/{name}" for name in names]


def previous(name):
    """A file of the cycle before."""
    return lambda wildcards: (
        f"{run_layout.cycle_folder(PLAN.run, wildcards.strategy, wildcards.seed, int(wildcards.cycle) - 1)}/{name}"
    )


def dataset_of(wildcards):
    """The data set that a cycle knows."""
    return PLAN.dataset_of(wildcards.get("strategy") or wildcards.label, wildcards.seed, int(wildcards.cycle))


def dataset_before(wildcards):
    """The data set of the cycle before."""
    return PLAN.dataset_of(wildcards.strategy, wildcards.seed, int(wildcards.cycle) - 1)


def records_of_table(wildcards):
    return {name: in_cycle(records) for name, records in PLAN.records_of_table(wildcards.part).items()}


def second_round(wildcards):
    """Of batches that an agent draws: that agent, and the batches of the first round."""
    if not wildcards.part.startswith(SECOND):
        return {}
    first = run_layout.CYCLE.below(f"{FOLDER}/{wildcards.part.removeprefix(SECOND)}")
    return {"agent": f"{FOLDER}/{SECOND}{run_layout.CYCLE.agent}", "first": first.batches}


def evidence(wildcards):
    """The files that a strategy reads. What no strategy needs is not made."""
    elsewhere = {"competence": OWN.metrics, "held_out": OWN_REPLAY.detections, "patterns": RUN.foundation}
    needs = sorted(PLAN.needs[wildcards.label] & IN_FILES)
    return {need: elsewhere.get(need) or getattr(OWN, need) for need in needs}


def of_growth():
    """What a table reads beside its records where its representation is growth."""
    if not PLAN.price:
        return {}
    found = {"dataset": dataset_of, "pool": CYCLE.pool, "competence": CYCLE.metrics}
    if "replay" in EXPERIMENT.proxy.kinds:
        found["replay_pool"] = REPLAY.pool
    if PLAN.replay_seen:
        found |= {"replay_embeddings": REPLAY.embeddings, "replay_detections": REPLAY.detections}
    return found


POLISH = ["--polish", EXPERIMENT.search.polish, "--caution", EXPERIMENT.search.caution]


def of_agent(wildcards):
    """The price that a searcher's state and polish read, where its representation is growth."""
    return {"price": OWN.price} if PLAN.price and wildcards.label in PLAN.searchers else {}


def answers(wildcards, input, output):
    """Where the answers come from, as options of the command."""
    if PLAN.asks_people:
        return ["--closed", input[0]]
    file = INPUTS.file(cli.module("labels"))
    return ["--simulated", input.simulated, "--truth", input.truth, "--params", file, "--seed", wildcards.seed]


def options(files, *names):
    """Those of some named inputs or outputs that there are, as options of a command."""
    return [text for name in names if files.get(name) for text in (f"--{name.replace('_', '-')}", files.get(name))]
