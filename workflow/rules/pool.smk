# Which images are labelled: the initial draw, what strategies share of cycle 0, and the oracle's answers.


localrules:
    pool,
    annotate,
    share_detector,
    share_evidence,
    share_held_out,
    share_agent,


rule pool:
    input:
        f"{RUN}/dataset/dataset.json",
    output:
        f"{RUN}/shared/seed-{{seed}}/cycle-0/pool.json",
    log:
        f"{RUN}/logs/pool/shared-{{seed}}-0.log",
    benchmark:
        f"{RUN}/benchmarks/pool/shared-{{seed}}-0.tsv"
    conda:
        "../envs/mgral.yaml"
    params:
        settings=settings("pool"),
        code=code("pool"),
    message:
        "seed {wildcards.seed}: draw the initial pool"
    shell:
        "mgral pool --params - --dataset {input} --seed {wildcards.seed} --out {output}"
        " <<< {params.settings:q} 2> {log}"


# The oracle is the data set: it knows the answers, so that only the pool changes.
rule annotate:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        pool=previous("pool.json"),
        selected=previous("selected.json"),
    output:
        f"{CYCLE}/pool.json",
    log:
        f"{RUN}/logs/annotate/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/annotate/{JOB}.tsv"
    wildcard_constraints:
        cycle=r"[1-9]\d*",
    conda:
        "../envs/mgral.yaml"
    params:
        code=code("annotate"),
    message:
        f"{WHO}: annotate the batch of the cycle before"
    shell:
        "mgral annotate --dataset {input.dataset} --pool {input.pool} --selected {input.selected} --out {output}"
        " 2> {log}"


rule share_detector:
    input:
        shared(OF_DETECTOR),
    output:
        own(OF_DETECTOR),
    log:
        f"{RUN}/logs/share_detector/{{label}}-{{seed}}-0.log",
    benchmark:
        f"{RUN}/benchmarks/share_detector/{{label}}-{{seed}}-0.tsv"
    conda:
        "../envs/mgral.yaml"
    message:
        "{wildcards.label}, seed {wildcards.seed}: take what all strategies share in cycle 0"
    shell:
        "from=({input:q}); to=({output:q}); "
        'for i in "${{!to[@]}}"; do cp "${{from[i]}}" "${{to[i]}}.part" && mv "${{to[i]}}.part" "${{to[i]}}"'
        ' || {{ rm -f "${{to[i]}}.part"; exit 1; }}; done 2> {log}'


use rule share_detector as share_evidence with:
    input:
        shared(OF_EVIDENCE),
    output:
        own(OF_EVIDENCE),
    log:
        f"{RUN}/logs/share_evidence/{{label}}-{{seed}}-0.log",
    benchmark:
        f"{RUN}/benchmarks/share_evidence/{{label}}-{{seed}}-0.tsv"


use rule share_detector as share_held_out with:
    input:
        shared(OF_HELD_OUT),
    output:
        own(OF_HELD_OUT),
    log:
        f"{RUN}/logs/share_held_out/{{label}}-{{seed}}-0.log",
    benchmark:
        f"{RUN}/benchmarks/share_held_out/{{label}}-{{seed}}-0.tsv"


use rule share_detector as share_agent with:
    input:
        shared(OF_AGENT),
    output:
        own(OF_AGENT),
    log:
        f"{RUN}/logs/share_agent/{{label}}-{{seed}}-0.log",
    benchmark:
        f"{RUN}/benchmarks/share_agent/{{label}}-{{seed}}-0.tsv"
