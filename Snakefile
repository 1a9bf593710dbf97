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


# Each result is listed here, also where another follows from it: Snakemake makes no deleted file again of which it only
# knows newer ones.
rule all:
    default_target: True
    input:
        FILES.of_cycles(),
        [f"{PLAN.run}/{name}" for name in PLAN.result_files()],
    localrule: True
    message:
        waiting.ending(PLAN, [BASE, *OVERRIDES], RUN.report)


rule compare:
    input:
        RUN.comparison,
        RUN.report,
    localrule: True
    message:
        f"{RUN.report} and {RUN.comparison} are complete"


rule next:
    input:
        FILES.next_batches(),
        RUN.report,
    localrule: True
    message:
        f"the batches after cycle {PLAN.cycles[-1]} are in"
        f" {PLAN.run}/<strategy>/seed-<seed>/cycle-{PLAN.cycles[-1]}/{run_layout.CYCLE.selected}; open {RUN.report}"
