# What a run shows: the curves as a table, the strategies compared, and the report; and before a run what it takes.
# Outputs marked report() are also in `snakemake --report`.


use rule step as curve with:
    input:
        FILES.each(CYCLE.metrics),
        FILES.each(CYCLE.own, PLAN.reporting_own),
    output:
        out=report(
            RUN.curve, caption="../report/curve.rst", category="Run", labels={"result": "learning curves, as a table"}
        ),
        summary=RUN.summary,
    log:
        log_of("curve"),
    localrule: True
    params:
        **step("curve", run=folder_of_output, cycles=len(PLAN.cycles)),


use rule step as comparison with:
    input:
        curve=RUN.curve,
        noise=NOISE,
    output:
        out=RUN.comparison,
    log:
        log_of("comparison"),
    localrule: True
    params:
        **step("compare", baselines=PLAN.baselines),


# It also reads the logs of the jobs before it, for the time that each step took. They are no inputs: a measurement
# that someone deletes must not train a detector again.
use rule step as report with:
    input:
        lambda wildcards: FILES.reported(workflow.dag_settings.targets),
    output:
        out=report(RUN.report, caption="../report/page.rst", category="Run", labels={"result": "report"}),
        figures=report(
            directory(RUN.figures),
            patterns=["{figure}.png"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        log_of("report"),
    params:
        **step(
            *("report", *STRATEGIES),  # strategies say what they are and explain their reasons
            run=folder_of_output,
            cycles=len(PLAN.cycles),
            command=lambda wildcards, output: PLAN.command(OVERRIDES),
            words='--date $(date -u +%Y-%m-%d) --commit "$(git describe --always --dirty 2> /dev/null)"',
        ),


# Before a run: the first detector alone, trained for longer and longer.
use rule step_of_detector as probe with:
    input:
        dataset=RUN.dataset,
        images=RUN.images,
        pool=f"{PLAN.shared_folder(EXPERIMENT.seeds[0])}/{run_layout.CYCLE.pool}",
    output:
        out=RUN.probe,
    log:
        log_of("probe"),
    params:
        **step("probe", DETECTOR, seed=FILES.seed),
    message:
        f"{{params.message}}; what came out is in {RUN.probe}"


# Before a run: it asks for the data set's list of images and times a few steps. The jobs are those of a graph that
# Snakemake, in its own environment, resolves for these very parameters, as if nothing had been made yet.
use rule step_of_detector as forecast with:
    input:
        PLAN.generated_images(),
        dataset=RUN.dataset,
    log:
        log_of("forecast"),
    localrule: True
    params:
        **step("forecast", python=sys.executable, cores=lambda wildcards: workflow.cores or 1),
    message:
        "time the steps, and predict what the experiment takes"
