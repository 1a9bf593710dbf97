# What the rules share: the checked experiment, the places of its files, what each step declares, and the two templates
# that rules are made from. What can be computed without Snakemake is in mgral.core.run_layout and mgral.planning.
#
# The named inputs and outputs of a rule are options of its command: an input `dataset=…` is `--dataset …`, an output
# `out=…` is `--out …`, and what is empty is left out. So are further options that are given to `step`. Files that a
# command finds by itself, or that are there for the order of the steps alone, have no name.

from functools import partial

from mgral import cli
from mgral.core import run_layout
from mgral.core.errors import MgralError
from mgral.planning import beginning, detector_jobs, stages, waiting
from mgral.planning.requests import requested
from mgral.planning.rule_files import JOB, RuleFiles
from mgral.planning.run_plan import one_of
from mgral.planning.step_inputs import StepInputs, folder_of_input, folder_of_output
from mgral.reward import proxy_plan
from snakemake_interface_executor_plugins.settings import DeploymentMethod

BASE = "params/base.yaml"

beginning.name_user()
beginning.keep_modules()
try:
    beginning.refuse(
        workflow.config_settings.config, DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
    )
    OVERRIDES = beginning.overrides(BASE, workflow.configfiles)
    PLAN = beginning.plan([BASE, *OVERRIDES], speaks=workflow.is_main_process)
except MgralError as error:
    raise WorkflowError(str(error)) from None

EXPERIMENT = PLAN.experiment
INPUTS = StepInputs(PLAN, cli.module, cli.VERBS)
step = INPUTS.of_rule  # what a rule declares beside its files
FORMAT, DETECTOR, SEMI, *STRATEGIES = PLAN.plugin_modules()

FILES = RuleFiles(PLAN)
RUN, CYCLE, PART, REPLAY, OWN = FILES.run, FILES.cycle, FILES.part, FILES.replay, FILES.own
log_of = FILES.log
NOISE = RUN.noise if EXPERIMENT.noise.repeats else []
LABEL = one_of(PLAN.strategies)

# Memory and time of a step that grow with the pool.
asked = partial(requested, image_size=EXPERIMENT.image_size, half=EXPERIMENT.embedding.precision == "float16")
GPU = detector_jobs.gpus(EXPERIMENT, workflow.global_resources)


wildcard_constraints:
    strategy=rf"shared(?=/seed-\d+/cycle-0/|-\d+-0\b)|(?:{LABEL})(?=/seed-\d+/cycle-[1-9]|-\d+-[1-9])",
    label=LABEL,
    seed=r"\d+",
    cycle=r"\d+",
    part="|".join(run_layout.parts(EXPERIMENT.proxy.splits)),
    split=r"|-\d+",
    number=one_of(PLAN.parts()),


# A template, no job: `use rule step as … with:` adds the files and, as `**step(…)`, the command and what it depends on.
rule step:
    log:
        log_of("step"),
    conda:
        "../envs/mgral.yaml"
    params:
        mgral="mgral",
    message:
        "{params.message}"
    shell:
        "{params.mgral} {params.command} 2> {log[0]}"


# The same for what trains or runs a detector: its environment, its command and its share of the GPUs. The number of
# threads is a parameter and not what the machine can spare: with it changes the order of sums, and with that the last
# bits of a result.
use rule step as step_of_detector with:
    conda:
        f"../envs/{detector_jobs.environment(EXPERIMENT)}"
    threads: EXPERIMENT.machine.threads
    resources:
        gpu=GPU,
    params:
        mgral=detector_jobs.command(EXPERIMENT),
