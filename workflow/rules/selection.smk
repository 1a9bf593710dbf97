# The batch that a strategy wants annotated next, and what it finds out about the unlabelled images before, with a
# network or a training of its own. Scores are made for the strategies that need them, and never shared: two labels of
# one plug-in may differ in their options.

# Where a strategy reports its own detector, the training that scores also evaluates that one, in every cycle.
for own in [False, True]:

    rule:
        name:
            "score_own" if own else "score"
        input:
            dataset=dataset_of,
            images=RUN.images,
            pool=OWN.pool,
            detector=OWN.detector,
        output:
            **({"own": OWN.own} if own else {}),
            image_scores=OWN.image_scores,
        log:
            log_of("score", OWN_JOB),
            losses=f"{PLAN.run}/{run_layout.RUN.logs}/score/{OWN_JOB}.csv",
        benchmark:
            benchmark_of("score", OWN_JOB)
        wildcard_constraints:
            label=one_of(label for label in PLAN.strategies if (label in PLAN.reporting_own) == own),
        conda:
            ENV_OF_DETECTOR
        threads: THREADS
        resources:
            gpu=GPU,
        params:
            **step("score") | {"code": code_of_strategy("score", DETECTOR)},
            own=lambda wildcards, output: options(output, "own"),
        message:
            f"{OWN_WHO}: score the pool"
        shell:
            f"{MGRAL} score --params {{params.file}} --strategy {{wildcards.label}} --dataset {{input.dataset}}"
            " --images {input.images} --pool {input.pool} --detector {input.detector} --seed {wildcards.seed}"
            " --out {output.image_scores} {params.own} --log {log.losses} 2> {log[0]}"


rule select:
    input:
        unpack(evidence),
        unpack(of_agent),
        dataset=dataset_of,
        pool=OWN.pool,
    output:
        OWN.selected,
    log:
        log_of("select", OWN_JOB),
    benchmark:
        benchmark_of("select", OWN_JOB)
    conda:
        "../envs/mgral.yaml"
    threads: THREADS
    resources:
        **requested("select"),
    params:
        **step("select") | {"code": code_of_strategy("select")},
        evidence=lambda wildcards, input: options(input, *sorted(IN_FILES), "price"),
        polish=lambda wildcards: POLISH if of_agent(wildcards) else [],
    message:
        f"{OWN_WHO}: choose the batch"
    shell:
        "mgral select --params {params.file} --strategy {wildcards.label} --dataset {input.dataset}"
        " --pool {input.pool} {params.evidence} {params.polish} --seed {wildcards.seed} --out {output} 2> {log}"


# The predicted gains of an agent's batch, before and after polishing, and of the batches that the other strategies
# would choose from the same pool.
rule prices:
    input:
        dataset=dataset_of,
        pool=OWN.pool,
        embeddings=OWN.embeddings,
        detections=OWN.detections,
        agent=OWN.agent,
        price=OWN.price,
        competence=OWN.metrics,
        held_out=OWN_REPLAY.detections if PLAN.replay_seen else [],
    output:
        OWN.prices,
    log:
        log_of("prices", OWN_JOB),
    benchmark:
        benchmark_of("prices", OWN_JOB)
    wildcard_constraints:
        label=one_of(PLAN.searchers),
    conda:
        "../envs/mgral.yaml"
    threads: THREADS
    resources:
        **requested("prices"),
    params:
        **step("prices", *STRATEGY_MODULES),
        polish=POLISH,
        held_out=lambda wildcards, input: options(input, "held_out"),
    message:
        f"{OWN_WHO}: compare predicted gains"
    shell:
        "mgral prices --params {params.file} --strategy {wildcards.label} --dataset {input.dataset}"
        " --pool {input.pool} --embeddings {input.embeddings} --detections {input.detections} --agent {input.agent}"
        " --price {input.price} --competence {input.competence} {params.held_out} {params.polish}"
        " --seed {wildcards.seed} --out {output} 2> {log}"
