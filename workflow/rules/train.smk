# The detector of a cycle.


rule train:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        images=f"{RUN}/dataset/images.npy",
        pool=f"{CYCLE}/pool.json",
    output:
        f"{CYCLE}/detector.safetensors",
        f"{CYCLE}/train.csv",
        metrics=f"{CYCLE}/metrics.json",
    log:
        f"{RUN}/logs/train/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/train/{JOB}.tsv"
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        settings=settings("train"),
        code=code("train", DETECTOR),
    message:
        f"{WHO}: train the detector"
    shell:
        f"{MGRAL} train --params -"
        " --dataset {input.dataset} --images {input.images} --pool {input.pool}"
        ' --seed {wildcards.seed} --out "$(dirname {output.metrics})"'
        " <<< {params.settings:q} 2> {log}"
