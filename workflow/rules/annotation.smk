# The labels of a selected batch: from the data set, which knows the answers, or from people, real or simulated.


rule export:
    input:
        PLAN.generated_images(),
        **FILES.named(OWN, "dataset", "selected", "detections", "pool"),
        past=FILES.past,
    output:
        out=OWN.manifest,
    log:
        log_of("export", OWN_JOB),
    benchmark:
        benchmark_of("export", OWN_JOB)
    conda:
        "../envs/mgral.yaml"
    params:
        **step("export", f"mgral.annotation.tools.{EXPERIMENT.annotation.tool}"),
    message:
        f"{OWN_WHO}: write the batch for the annotation tool"
    shell:
        "mgral export {params.options} 2> {log}"


# What people returned lies outside the run and is never made again. A batch that is closed has brought its own rules,
# so no parameter is read: what is set for a later batch trains no earlier cycle again.
rule labels:
    input:
        lambda wildcards: PLAN.answers(wildcards.cycle)[1:],
        **FILES.simulated(),
        closed=lambda wildcards: PLAN.answers(wildcards.cycle)[:1],
        dataset=FILES.dataset_before,
    output:
        out=CYCLE.labels,
        out_dataset=CYCLE.dataset,
    log:
        log_of("labels", JOB),
    benchmark:
        benchmark_of("labels", JOB)
    wildcard_constraints:
        cycle=r"[1-9]\d*",
    localrule: True
    conda:
        "../envs/mgral.yaml"
    params:
        **step("labels", lambda wildcards: PLAN.tools(int(wildcards.cycle) - 1), reads=not PLAN.asks_people),
        seed=lambda wildcards, input: ["--seed", wildcards.seed] if input.get("simulated") else [],
    message:
        f"{WHO}: make labels of what people said"
    shell:
        "mgral labels {params.options} {params.seed} 2> {log}"


rule annotate:
    input:
        dataset=FILES.dataset,
        pool=FILES.before(run_layout.CYCLE.pool),
        selected=FILES.before(run_layout.CYCLE.selected),
        labels=CYCLE.labels if PLAN.answered else [],
    output:
        out=CYCLE.pool,
    log:
        log_of("annotate", JOB),
    benchmark:
        benchmark_of("annotate", JOB)
    wildcard_constraints:
        cycle=r"[1-9]\d*",
    localrule: True
    conda:
        "../envs/mgral.yaml"
    params:
        **step("annotate", reads=False),
    message:
        f"{WHO}: annotate the batch of the cycle before"
    shell:
        "mgral annotate {params.options} 2> {log}"
