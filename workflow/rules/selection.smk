# The batch that a strategy wants annotated next, and what it finds out about the unlabelled images before, with a
# network or a training of its own. Scores are made for the strategies that need them, and never shared: two labels of
# one plug-in may differ in their options.

# Where a strategy reports its own detector, the training that scores also evaluates that one, in every cycle.
for own in [False, True]:

    rule:
        name:
            "score_own" if own else "score"
        input:
            **FILES.named(OWN, "dataset", "images", "pool", "detector"),
        output:
            **({"own": OWN.own} if own else {}),
            out=OWN.image_scores,
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
            **step("score", lambda wildcards: MODULES[wildcards.label], DETECTOR),
        message:
            f"{OWN_WHO}: score the pool"
        shell:
            f"{MGRAL} score {{params.options}} --strategy {{wildcards.label}} --seed {{wildcards.seed}}"
            " --log {log.losses} 2> {log[0]}"


rule select:
    input:
        unpack(FILES.evidence),
        **FILES.named(OWN, "dataset", "pool"),
    output:
        out=OWN.selected,
    log:
        log_of("select", OWN_JOB),
    benchmark:
        benchmark_of("select", OWN_JOB)
    conda:
        "../envs/mgral.yaml"
    threads: THREADS
    resources:
        **asked("select"),
    params:
        **step("select", lambda wildcards: MODULES[wildcards.label]),
        polish=lambda wildcards: PLAN.polish(wildcards.label),
    message:
        f"{OWN_WHO}: choose the batch"
    shell:
        "mgral select {params.options} --strategy {wildcards.label} {params.polish} --seed {wildcards.seed} 2> {log}"


# The predicted gains of an agent's batch, before and after polishing, and of the batches that the other strategies
# would choose from the same pool.
rule prices:
    input:
        **FILES.named(OWN, "dataset", "pool", "embeddings", "detections", "agent", "price"),
        competence=OWN.metrics,
        held_out=FILES.own_replay.detections if PLAN.replay_seen else [],
    output:
        out=OWN.prices,
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
        **asked("prices"),
    params:
        **step("prices", *STRATEGY_MODULES),
        polish=lambda wildcards: PLAN.polish(wildcards.label),
    message:
        f"{OWN_WHO}: compare predicted gains"
    shell:
        "mgral prices {params.options} --strategy {wildcards.label} {params.polish} --seed {wildcards.seed} 2> {log}"
