# What a run shows: the retraining variance, the curves as a table, the strategies compared, and the report; and before
# a run its forecast. Outputs marked report() are also in `snakemake --report`.


localrules:
    curve,
    comparison,
    forecast,


# One pool, trained again with seeds that are none of the experiment's; the check of the parameters sees to that.
use rule train as retrain with:
    input:
        dataset=PLAN.last_dataset,
        images=RUN.images,
        pool=f"{PLAN.last_folder}/{run_layout.CYCLE.pool}",
    output:
        f"{REPEAT}/{run_layout.CYCLE.detector}",
        f"{REPEAT}/{run_layout.CYCLE.training}",
        metrics=f"{REPEAT}/{run_layout.CYCLE.metrics}",
    log:
        log_of("retrain", "{repeat}"),
    benchmark:
        benchmark_of("retrain", "{repeat}")
    params:
        **step("train", DETECTOR),
        seed=lambda wildcards: schema.FIRST_NOISE_SEED + int(wildcards.repeat),
    message:
        "train the last pool again, with other random numbers ({wildcards.repeat})"


rule noise:
    input:
        expand(f"{REPEAT}/{run_layout.CYCLE.metrics}", repeat=range(EXPERIMENT.noise.repeats)),
    output:
        RUN.noise,
    log:
        log_of("noise"),
    benchmark:
        benchmark_of("noise")
    conda:
        "../envs/mgral.yaml"
    params:
        code=INPUTS.code(cli.module("noise")),
    message:
        "measure the spread between trainings of one pool"
    shell:
        "mgral noise --metrics {input} --out {output} 2> {log}"


rule curve:
    input:
        each(CYCLE.metrics),
        each(CYCLE.own, labels=PLAN.reporting_own),
    output:
        curve=report(
            RUN.curve,
            caption="../report/curve.rst",
            category="Run",
            labels={"result": "learning curves, as a table"},
        ),
        summary=RUN.summary,
    log:
        log_of("curve"),
    benchmark:
        benchmark_of("curve")
    conda:
        "../envs/mgral.yaml"
    params:
        **step("curve"),
        cycles=len(PLAN.cycles),
    message:
        "write the learning curves as a table"
    shell:
        'mgral curve --params {params.file} --run "$(dirname {output.curve})" --out {output.curve}'
        " --cycles {params.cycles} --summary {output.summary} 2> {log}"


rule comparison:
    input:
        curve=RUN.curve,
        noise=[RUN.noise] if EXPERIMENT.noise.repeats else [],
    output:
        RUN.comparison,
    log:
        log_of("comparison"),
    benchmark:
        benchmark_of("comparison")
    conda:
        "../envs/mgral.yaml"
    params:
        **step("compare"),
        baselines=PLAN.baselines,
        noise=lambda wildcards, input: options(input, "noise"),
    message:
        "compare the strategies"
    shell:
        "mgral compare --params {params.file} --curve {input.curve} {params.noise} --baselines {params.baselines}"
        " --out {output} 2> {log}"


# It also reads the benchmarks of the jobs before it, for the time that each step took. They are no inputs: a
# measurement that someone deletes must not train a detector again.
rule report:
    input:
        PLAN.generated_images(),
        each(CYCLE.metrics),
        each(CYCLE.training),
        each(CYCLE.own, labels=PLAN.reporting_own),
        each(CYCLE.selected, cycles=PLAN.selecting),
        next_batches,
        each(CYCLE.audit, labels=PLAN.searchers, cycles=PLAN.selecting),
        each(CYCLE.search, labels=PLAN.searchers, cycles=PLAN.selecting),
        [each(f"{FOLDER}/{name}", PLAN.searchers, PLAN.selecting) for name in PLAN.prices],
        RUN.dataset,
        PLAN.last_dataset,
        each(CYCLE.labels, cycles=PLAN.cycles[1:]) if PLAN.answered else [],
        each(CYCLE.manifest, cycles=PLAN.cycles[-1:]) if WAITING else [],
        RUN.comparison,
        [RUN.noise] if EXPERIMENT.noise.repeats else [],
        [RUN.stopping] if PLAN.parts() else [],
    output:
        page=report(
            RUN.report,
            caption="../report/page.rst",
            category="Run",
            labels={"result": "report"},
        ),
        figures=report(
            directory(RUN.figures),
            patterns=["{figure}.png"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        log_of("report"),
    benchmark:
        benchmark_of("report")
    conda:
        "../envs/mgral.yaml"
    params:
        **step("report", *STRATEGY_MODULES),  # strategies say what they are and explain their reasons
        command=lambda wildcards, output: shlex.join(["snakemake", "--cores", "all", *CONFIGFILES]),
        cycles=len(PLAN.cycles),
    message:
        "draw the figures and write the report"
    shell:
        'mgral report --params {params.file} --run "$(dirname {output.page})" --out {output.page}'
        " --cycles {params.cycles} --figures {output.figures} --command {params.command:q} --date $(date -u +%Y-%m-%d)"
        ' --commit "$(git describe --always --dirty 2> /dev/null)" 2> {log}'


# Before a run: the first detector alone, trained for longer and longer.
rule probe:
    input:
        dataset=RUN.dataset,
        images=RUN.images,
        pool=f"{PLAN.shared_folder(EXPERIMENT.seeds[0])}/{run_layout.CYCLE.pool}",
    output:
        RUN.probe,
    log:
        log_of("probe"),
    benchmark:
        benchmark_of("probe")
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        **step("probe", DETECTOR),
        seed=EXPERIMENT.seeds[0],
    message:
        f"try how long the first detector must be trained; what came out is in {RUN.probe}"
    shell:
        f"{MGRAL} probe --params {{params.file}} --dataset {{input.dataset}} --images {{input.images}}"
        " --pool {input.pool} --seed {params.seed} --out {output} 2> {log}"


# Before a run: it asks for the data set's list of images and times a few steps. The jobs are those of a graph that
# Snakemake resolves for these very parameters, as if nothing had been made yet.
rule forecast:
    input:
        PLAN.generated_images(),
        dataset=RUN.dataset,
    log:
        log_of("forecast"),
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        **step("forecast"),
        snakemake=shlex.join([sys.executable, "-m", "snakemake"]),
        cores=lambda wildcards: workflow.cores or 1,
    message:
        "time the steps, and predict what the experiment takes"
    shell:
        "graph=$(mktemp) && trap 'rm \"$graph\"' EXIT && "
        '{params.snakemake} --cores 1 --nolock --forceall --d3dag --configfile {params.file} -- all > "$graph" 2> {log} && '
        f'{MGRAL} forecast --params {{params.file}} --dataset {{input.dataset}} --graph "$graph"'
        " --cores {params.cores} 2>> {log}"
