# The batch that a strategy wants annotated next.


rule select:
    input:
        unpack(evidence),
        dataset=f"{RUN}/dataset/dataset.json",
        pool=f"{OWN_CYCLE}/pool.json",
    output:
        f"{OWN_CYCLE}/selected.json",
    log:
        f"{RUN}/logs/select/{{label}}-{{seed}}-{{cycle}}.log",
    benchmark:
        f"{RUN}/benchmarks/select/{{label}}-{{seed}}-{{cycle}}.tsv"
    conda:
        "../envs/mgral.yaml"
    threads: THREADS
    params:
        evidence=evidence_options,
        settings=settings("select"),
        code=code_of_strategy,
    message:
        f"{WHOSE}: choose the batch"
    shell:
        "mgral select --params - --strategy {wildcards.label} --dataset {input.dataset} --pool {input.pool}"
        " {params.evidence} --seed {wildcards.seed} --out {output} <<< {params.settings:q} 2> {log}"
