# What a run shows: the curves as a table, the strategies compared, and the report; and before a run what it takes.
# Outputs marked report() are also in `snakemake --report`.


rule curve:
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
    benchmark:
        benchmark_of("curve")
    localrule: True
    conda:
        "../envs/mgral.yaml"
    params:
        **step("curve"),
        cycles=len(PLAN.cycles),
    message:
        "write the learning curves as a table"
    shell:
        'mgral curve {params.options} --run "$(dirname {output.out})" --cycles {params.cycles} 2> {log}'


rule comparison:
    input:
        curve=RUN.curve,
        noise=NOISE,
    output:
        out=RUN.comparison,
    log:
        log_of("comparison"),
    benchmark:
        benchmark_of("comparison")
    localrule: True
    conda:
        "../envs/mgral.yaml"
    params:
        **step("compare"),
        baselines=PLAN.baselines,
    message:
        "compare the strategies"
    shell:
        "mgral compare {params.options} --baselines {params.baselines} 2> {log}"


# It also reads the benchmarks of the jobs before it, for the time that each step took. They are no inputs: a
# measurement that someone deletes must not train a detector again.
rule report:
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
    benchmark:
        benchmark_of("report")
    conda:
        "../envs/mgral.yaml"
    params:
        **step("report", *STRATEGY_MODULES),  # strategies say what they are and explain their reasons
        command=lambda wildcards, output: PLAN.command(OVERRIDES),
        cycles=len(PLAN.cycles),
    message:
        "draw the figures and write the report"
    shell:
        'mgral report {params.options} --run "$(dirname {output.out})" --cycles {params.cycles}'
        " --command {params.command:q} --date $(date -u +%Y-%m-%d)"
        ' --commit "$(git describe --always --dirty 2> /dev/null)" 2> {log}'


# Before a run: the first detector alone, trained for longer and longer.
rule probe:
    input:
        dataset=RUN.dataset,
        images=RUN.images,
        pool=f"{PLAN.shared_folder(EXPERIMENT.seeds[0])}/{run_layout.CYCLE.pool}",
    output:
        out=RUN.probe,
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
        seed=FILES.seed,
    message:
        f"try how long the first detector must be trained; what came out is in {RUN.probe}"
    shell:
        f"{MGRAL} probe {{params.options}} --seed {{params.seed}} 2> {{log}}"


# Before a run: it asks for the data set's list of images and times a few steps. The jobs are those of a graph that
# Snakemake resolves for these very parameters, as if nothing had been made yet.
rule forecast:
    input:
        PLAN.generated_images(),
        dataset=RUN.dataset,
    log:
        log_of("forecast"),
    localrule: True
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
        f'{MGRAL} forecast {{params.options}} --graph "$graph" --cores {{params.cores}} 2>> {{log}}'
