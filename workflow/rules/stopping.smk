# What further images would bring: detectors trained on parts of the last labelled pool of the first strategy and seed.
PART_OF_POOL = run_layout.CYCLE.below(f"{PLAN.run}/{run_layout.part_of_pool()}/")


localrules:
    subset,
    stopping,


rule subset:
    input:
        f"{PLAN.last_folder}/{run_layout.CYCLE.pool}",
    output:
        PART_OF_POOL.pool,
    log:
        log_of("subset", "{number}"),
    benchmark:
        benchmark_of("subset", "{number}")
    wildcard_constraints:
        number=one_of(PLAN.parts()),
    conda:
        "../envs/mgral.yaml"
    params:
        code=INPUTS.code(cli.module("subset")),
        share=lambda wildcards: PLAN.parts()[wildcards.number],
        seed=EXPERIMENT.seeds[0],
    message:
        "draw a part of the last pool ({wildcards.number})"
    shell:
        "mgral subset --pool {input} --share {params.share} --draw {wildcards.number} --seed {params.seed}"
        " --out {output} 2> {log}"


use rule train as train_subset with:
    input:
        dataset=PLAN.last_dataset,
        images=RUN.images,
        pool=PART_OF_POOL.pool,
    output:
        PART_OF_POOL.detector,
        PART_OF_POOL.training,
        metrics=PART_OF_POOL.metrics,
    log:
        log_of("train_subset", "{number}"),
    benchmark:
        benchmark_of("train_subset", "{number}")
    params:
        **step("train", DETECTOR),
        seed=EXPERIMENT.seeds[0],
    message:
        "train on a part of the last pool ({wildcards.number})"


rule stopping:
    input:
        noise=[RUN.noise] if EXPERIMENT.noise.repeats else [],
        metrics=[
            f"{PLAN.last_folder}/{run_layout.CYCLE.metrics}",
            *expand(PART_OF_POOL.metrics, number=PLAN.parts()),
        ],
    output:
        RUN.stopping,
    log:
        log_of("stopping"),
    benchmark:
        benchmark_of("stopping")
    conda:
        "../envs/mgral.yaml"
    params:
        **step("stopping"),
        noise=lambda wildcards, input: options(input, "noise"),
    message:
        "continue the learning curve"
    shell:
        "mgral stopping --params {params.file} --metrics {input.metrics} {params.noise} --out {output} 2> {log}"
