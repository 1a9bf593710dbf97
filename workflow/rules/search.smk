# The agent of a cycle, trained against the lookup table.


rule search:
    input:
        f"{CYCLE}/table/records.parquet",
        f"{CYCLE}/table/index.faiss",
        dataset=f"{RUN}/dataset/dataset.json",
        images=f"{RUN}/dataset/images.npy",
        pool=f"{CYCLE}/pool.json",
        detector=f"{CYCLE}/detector.safetensors",
        embeddings=f"{CYCLE}/embeddings.npz",
        detections=f"{CYCLE}/detections.npz",
        audit=f"{CYCLE}/table/audit.json",
    output:
        f"{CYCLE}/search.csv",
        f"{CYCLE}/added.json",
        agent=f"{CYCLE}/agent.safetensors",
    log:
        f"{RUN}/logs/search/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/search/{JOB}.tsv"
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        how="",
        settings=settings("search"),
        code=code("search", DETECTOR, SEMI),
    message:
        f"{WHO}: train the agent"
    shell:
        f"{MGRAL} search --params -"
        " --dataset {input.dataset} --images {input.images} --pool {input.pool}"
        " --detector {input.detector} --embeddings {input.embeddings}"
        " --detections {input.detections}"
        ' --table "$(dirname {input.audit})" {params.how} --seed {wildcards.seed} --out "$(dirname {output.agent})"'
        " <<< {params.settings:q} 2> {log}"
