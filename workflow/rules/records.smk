# The lookup table: batches are drawn, a proxy is trained for each, and the records are indexed.


rule draw:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        pool=f"{CYCLE}/pool.json",
        embeddings=f"{CYCLE}/embeddings.npz",
        detections=f"{CYCLE}/detections.npz",
    output:
        f"{CYCLE}/batches.json",
    log:
        f"{RUN}/logs/draw/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/draw/{JOB}.tsv"
    conda:
        "../envs/mgral.yaml"
    params:
        settings=settings("draw"),
        code=code("draw"),
    shell:
        "mgral draw --params - --dataset {input.dataset} --pool {input.pool}"
        " --embeddings {input.embeddings} --detections {input.detections}"
        " --seed {wildcards.seed} --out {output} <<< {params.settings:q} 2> {log}"


# Starting an interpreter with torch costs seconds, so a job trains several proxies, one after the other. One rule for
# each such chunk; its jobs run beside those of the other chunks. The command takes the numbers of its proxies from
# the names of its outputs: were they parameters, another size of the chunks would train everything again.
for chunk in CHUNKS:

    rule:
        name:
            f"proxy_{chunk[0]}"
        input:
            dataset=f"{RUN}/dataset/dataset.json",
            images=f"{RUN}/dataset/images.npy",
            pool=f"{CYCLE}/pool.json",
            detector=f"{CYCLE}/detector.safetensors",
            batches=f"{CYCLE}/batches.json",
        output:
            [f"{CYCLE}/proxies/{k}.json" for k in chunk],
        log:
            f"{RUN}/logs/proxy/{JOB}-{chunk[0]}.log",
        benchmark:
            f"{RUN}/benchmarks/proxy/{JOB}-{chunk[0]}.tsv"
        conda:
            ENV_OF_DETECTOR
        threads: THREADS
        resources:
            gpu=GPU,
        params:
            settings=settings("proxy"),
            code=code("proxy", DETECTOR, SEMI),
        shell:
            f"{MGRAL} proxy --params -"
            " --dataset {input.dataset} --images {input.images} --pool {input.pool}"
            " --detector {input.detector} --batches {input.batches} --seed {wildcards.seed}"
            ' --index $(basename -s .json {output}) --out "$(dirname {input.batches})/proxies"'
            " <<< {params.settings:q} 2> {log}"


rule table:
    input:
        embeddings=f"{CYCLE}/embeddings.npz",
        records=[f"{CYCLE}/proxies/{k}.json" for k in RECORDS],
    output:
        f"{CYCLE}/table/records.parquet",
        f"{CYCLE}/table/index.faiss",
        audit=f"{CYCLE}/table/audit.json",
    log:
        f"{RUN}/logs/table/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/table/{JOB}.tsv"
    conda:
        "../envs/mgral.yaml"
    threads: THREADS
    params:
        settings=settings("table"),
        code=code("table"),
    shell:
        "mgral table --params - --embeddings {input.embeddings} --records {input.records}"
        ' --out "$(dirname {output.audit})" <<< {params.settings:q} 2> {log}'
