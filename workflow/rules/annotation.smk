# The labels of a selected batch.


localrules:
    annotate,


# The oracle is the data set: it knows the answers, so that only the pool changes.
rule annotate:
    input:
        dataset=RUN.dataset,
        pool=previous(run_layout.CYCLE.pool),
        selected=previous(run_layout.CYCLE.selected),
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
    message:
        f"{WHO}: annotate the batch of the cycle before"
    shell:
        "mgral annotate --dataset {input.dataset} --pool {input.pool} --selected {input.selected} --out {output}"
        " 2> {log}"
