# The labels of a selected batch: from the data set, which knows the answers, or from people, real or simulated.


localrules:
    annotate,
    labels,


rule export:
    input:
        PLAN.generated_images(),
        dataset=dataset_of,
        selected=OWN.selected,
        detections=OWN.detections,
        pool=OWN.pool,
        past=lambda wildcards: PLAN.past(wildcards.label, wildcards.seed, int(wildcards.cycle)),
    output:
        OWN.manifest,
    log:
        log_of("export", OWN_JOB),
    benchmark:
        benchmark_of("export", OWN_JOB)
    conda:
        "../envs/mgral.yaml"
    params:
        **step("export", f"mgral.annotation.tools.{EXPERIMENT.annotation.tool}"),
        past=lambda wildcards, input: ["--past", *input.past] if input.past else [],
    message:
        f"{OWN_WHO}: write the batch for the annotation tool"
    shell:
        "mgral export --params {params.file} --dataset {input.dataset} --selected {input.selected}"
        " --detections {input.detections} --pool {input.pool} {params.past} --out {output} 2> {log}"


# What people returned lies outside the run and is never made again. A batch that is closed has brought its own rules,
# so no parameter is read: what is set for a later batch trains no earlier cycle again.
rule labels:
    input:
        lambda wildcards: PLAN.closed(int(wildcards.cycle) - 1),
        **({} if PLAN.asks_people else {"simulated": previous(run_layout.CYCLE.manifest), "truth": RUN.dataset}),
        dataset=dataset_before,
    output:
        labels=CYCLE.labels,
        dataset=CYCLE.dataset,
    log:
        log_of("labels", JOB),
    benchmark:
        benchmark_of("labels", JOB)
    wildcard_constraints:
        cycle=r"[1-9]\d*",
    conda:
        "../envs/mgral.yaml"
    params:
        **({} if PLAN.asks_people else {"settings": INPUTS.parameters(cli.module("labels"))}),
        code=lambda wildcards: INPUTS.code(cli.module("labels"), *PLAN.tools(int(wildcards.cycle) - 1)),
        answers=answers,
    message:
        f"{WHO}: make labels of what people said"
    shell:
        "mgral labels {params.answers} --dataset {input.dataset} --out-dataset {output.dataset} --out {output.labels}"
        " 2> {log}"


rule annotate:
    input:
        dataset=dataset_of,
        pool=previous(run_layout.CYCLE.pool),
        selected=previous(run_layout.CYCLE.selected),
        labels=[CYCLE.labels] if PLAN.answered else [],
    output:
        CYCLE.pool,
    log:
        log_of("annotate", JOB),
    benchmark:
        benchmark_of("annotate", JOB)
    wildcard_constraints:
        cycle=r"[1-9]\d*",
    conda:
        "../envs/mgral.yaml"
    params:
        code=INPUTS.code(cli.module("annotate")),
        labels=lambda wildcards, input: options(input, "labels"),
    message:
        f"{WHO}: annotate the batch of the cycle before"
    shell:
        "mgral annotate --dataset {input.dataset} --pool {input.pool} --selected {input.selected} {params.labels}"
        " --out {output} 2> {log}"
