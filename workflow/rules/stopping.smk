# The last pool of the first strategy and seed, trained again and in part (detection.smk): how far trainings of one pool
# lie apart, and what further images would bring.


rule noise:
    input:
        metrics=expand(RETRAINED.metrics, repeat=range(EXPERIMENT.noise.repeats)),
    output:
        out=RUN.noise,
    log:
        log_of("noise"),
    benchmark:
        benchmark_of("noise")
    conda:
        "../envs/mgral.yaml"
    params:
        **step("noise", reads=False),
    message:
        "measure the spread between trainings of one pool"
    shell:
        "mgral noise {params.options} 2> {log}"


rule subset:
    input:
        pool=LAST_POOL,
    output:
        out=PART_OF_POOL.pool,
    log:
        log_of("subset", "{number}"),
    benchmark:
        benchmark_of("subset", "{number}")
    localrule: True
    conda:
        "../envs/mgral.yaml"
    params:
        **step("subset", reads=False),
        share=lambda wildcards: PLAN.parts()[wildcards.number],
        seed=FILES.seed,
    message:
        "draw a part of the last pool ({wildcards.number})"
    shell:
        "mgral subset {params.options} --share {params.share} --draw {wildcards.number} --seed {params.seed} 2> {log}"


rule stopping:
    input:
        noise=NOISE,
        metrics=[
            f"{PLAN.last_folder}/{run_layout.CYCLE.metrics}",
            *expand(PART_OF_POOL.metrics, number=PLAN.parts()),
        ],
    output:
        out=RUN.stopping,
    log:
        log_of("stopping"),
    benchmark:
        benchmark_of("stopping")
    localrule: True
    conda:
        "../envs/mgral.yaml"
    params:
        **step("stopping"),
    message:
        "continue the learning curve"
    shell:
        "mgral stopping {params.options} 2> {log}"
