# What a run shows: the curve as a table, the strategies held against each other, and the report. Those marked report()
# are also in `snakemake --report`.


localrules:
    curve,
    comparison,


rule curve:
    input:
        each("metrics.json"),
        each("own.json", labels=REPORT_OWN),
    output:
        curve=report(
            f"{RUN}/curve.csv",
            caption="../report/curve.rst",
            category="Run",
            labels={"result": "learning curves, as a table"},
        ),
        summary=f"{RUN}/summary.json",
    log:
        f"{RUN}/logs/curve/all.log",
    benchmark:
        f"{RUN}/benchmarks/curve/all.tsv"
    conda:
        "../envs/mgral.yaml"
    params:
        settings=settings("curve"),
        code=code("curve"),
    message:
        "the curves, as a table"
    shell:
        'mgral curve --params - --run "$(dirname {output.curve})" --out {output.curve} --summary {output.summary}'
        " <<< {params.settings:q} 2> {log}"


rule comparison:
    input:
        curve=f"{RUN}/curve.csv",
        noise=[f"{RUN}/noise.json"] if EXPERIMENT.noise.repeats else [],
    output:
        f"{RUN}/comparison.json",
    log:
        f"{RUN}/logs/comparison/all.log",
    benchmark:
        f"{RUN}/benchmarks/comparison/all.tsv"
    conda:
        "../envs/mgral.yaml"
    params:
        baselines=BASELINES,
        noise=lambda wildcards, input: ["--noise", input.noise] if input.noise else [],
        settings=settings("compare"),
        code=code("compare"),
    message:
        "hold the strategies against each other"
    shell:
        "mgral compare --params - --curve {input.curve} {params.noise} --baselines {params.baselines} --out {output}"
        " <<< {params.settings:q} 2> {log}"


# It also reads the benchmarks of the jobs before it, for the time that each step took. They are no inputs: a
# measurement that someone deletes must not train a detector again.
rule report:
    input:
        source_images(),
        each("metrics.json"),
        each("own.json", labels=REPORT_OWN),
        each("selected.json", cycles=SELECTING),
        each("table/audit.json", labels=SEARCHERS, cycles=SELECTING),
        each("search.csv", labels=SEARCHERS, cycles=SELECTING),
        f"{RUN}/dataset/dataset.json",
        f"{RUN}/comparison.json",
        [f"{RUN}/noise.json"] if EXPERIMENT.noise.repeats else [],
    output:
        page=report(
            f"{RUN}/report.html",
            caption="../report/page.rst",
            category="Run",
            labels={"result": "report"},
        ),
        figures=report(
            directory(f"{RUN}/figures"),
            patterns=["{figure}.png"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        f"{RUN}/logs/report/all.log",
    benchmark:
        f"{RUN}/benchmarks/report/all.tsv"
    conda:
        "../envs/mgral.yaml"
    params:
        settings=settings("report"),
        code=code("report", *STRATEGY_MODULES),  # strategies say what they are and explain their reasons
    message:
        "draw the figures and write the report"
    shell:
        'mgral report --params - --run "$(dirname {output.page})" --out {output.page} --figures {output.figures}'
        " <<< {params.settings:q} 2> {log}"
