# Active learning for object detection, as a graph of cached steps.
#
#   snakemake --cores all                                     the demo, on generated data (params/base.yaml)
#   snakemake --cores all --configfile params/bccd.yaml       another experiment; its keys override the demo's
#   snakemake --cores all -- forecast                         run time and disk space before a run
#   snakemake --cores all -- probe                            how long the first detector must be trained
#   snakemake --cores all -- compare                          curves and report alone, of all strategies and seeds
#   snakemake --cores all -- next                             also choose the batch that follows the last cycle


configfile: "params/base.yaml"


report: "workflow/report/run.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/detection.smk"
include: "workflow/rules/reward.smk"
include: "workflow/rules/agent.smk"
include: "workflow/rules/selection.smk"
include: "workflow/rules/annotation.smk"
include: "workflow/rules/stopping.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/track.smk"
include: "workflow/rules/scheduler.smk"


localrules:
    all,
    compare,
    next,


# Each result is listed here, also where another follows from it: Snakemake makes no deleted file again of which it only
# knows newer ones.
rule all:
    default_target: True
    input:
        each(CYCLE.metrics),
        each(CYCLE.own, labels=PLAN.reporting_own),
        each(CYCLE.selected, cycles=PLAN.selecting),
        [each(f"{FOLDER}/{name}", PLAN.searchers, PLAN.selecting) for name in PLAN.prices],
        each(CYCLE.manifest, cycles=PLAN.cycles[-1:] if WAITING else []),
        [f"{PLAN.run}/{name}" for name in PLAN.result_files()],
    message:
        f"{PLAN.run} is complete{f' up to cycle {PLAN.waiting}' if WAITING else ''}; open {RUN.report}"


rule compare:
    input:
        RUN.comparison,
        RUN.report,
    message:
        f"{RUN.report} and {RUN.comparison} are complete"


rule next:
    input:
        NEXT_BATCHES,
        RUN.report,
    message:
        f"the batches after cycle {PLAN.cycles[-1]} are in"
        f" {PLAN.run}/<strategy>/seed-<seed>/cycle-{PLAN.cycles[-1]}/{run_layout.CYCLE.selected}; open {RUN.report}"
