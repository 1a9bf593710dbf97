# Active learning for object detection, as a graph of cached steps.
#
#   snakemake --cores all                                     the demo, on generated data (params/base.yaml)
#   snakemake --cores all --configfile params/bccd.yaml       another experiment; its keys override the demo's
#   snakemake --cores all -- forecast                         what it will take: trainings, hours, disk
#   snakemake --cores all -- compare                          curves and report alone, of all strategies and seeds
#   snakemake --cores all -- next                             also choose the batch that follows the last cycle


configfile: "params/base.yaml"


report: "workflow/report/run.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/pool.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/embed.smk"
include: "workflow/rules/records.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/replay.smk"
include: "workflow/rules/second_round.smk"
include: "workflow/rules/select.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/noise.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/forecast.smk"
include: "workflow/rules/track.smk"


# Snakemake 9.27 starts at most 100 jobs a second, and after each job that ends looks again every second whether it may
# start more: after 340 jobs that alone took a fifth of a processor. Another --max-jobs-per-timespan is left as it is.
onstart:
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


localrules:
    all,
    compare,
    next,


rule all:
    default_target: True
    input:
        each("metrics.json"),
        each("own.json", labels=REPORT_OWN),
        each("selected.json", cycles=SELECTING),
        f"{RUN}/curve.csv",
        f"{RUN}/summary.json",
        f"{RUN}/report.html",
    message:
        f"{RUN} is complete; open {RUN}/report.html"


rule compare:
    input:
        f"{RUN}/comparison.json",
        f"{RUN}/report.html",
    message:
        f"{RUN}/report.html and comparison.json are complete"


rule next:
    input:
        each("selected.json", cycles=[LAST]),
    message:
        f"the batches after cycle {LAST} are in {RUN}/<strategy>/seed-<seed>/cycle-{LAST}/selected.json"
