# What chance alone does to mAP: one pool, trained again and again with other seeds.

NOISE = f"{RUN}/noise"


# With seeds that are none of the experiment's; the check of the parameters sees to that.
rule retrain:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        images=f"{RUN}/dataset/images.npy",
        pool=f"{RUN}/{next(iter(STRATEGIES))}/seed-{SEEDS[0]}/cycle-{LAST}/pool.json",
    output:
        f"{NOISE}/repeat-{{repeat}}/detector.safetensors",
        f"{NOISE}/repeat-{{repeat}}/train.csv",
        metrics=f"{NOISE}/repeat-{{repeat}}/metrics.json",
    log:
        f"{RUN}/logs/retrain/{{repeat}}.log",
    benchmark:
        f"{RUN}/benchmarks/retrain/{{repeat}}.tsv"
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        settings=settings("train"),
        code=code("train", DETECTOR),
    message:
        "train the last pool again, with other random numbers ({wildcards.repeat})"
    shell:
        f"{MGRAL} train --params -"
        " --dataset {input.dataset} --images {input.images} --pool {input.pool}"
        f" --seed $(({parameters.FIRST_NOISE_SEED} + {{wildcards.repeat}}))"
        ' --out "$(dirname {output.metrics})" <<< {params.settings:q} 2> {log}'


rule noise:
    input:
        [f"{NOISE}/repeat-{k}/metrics.json" for k in range(EXPERIMENT.noise.repeats)],
    output:
        f"{RUN}/noise.json",
    log:
        f"{RUN}/logs/noise/all.log",
    benchmark:
        f"{RUN}/benchmarks/noise/all.tsv"
    conda:
        "../envs/mgral.yaml"
    params:
        code=code("noise"),
    message:
        "what chance alone does to mAP"
    shell:
        "mgral noise --metrics {input} --out {output} 2> {log}"
