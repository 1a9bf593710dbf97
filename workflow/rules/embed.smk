# What the detector sees in the pool: an embedding and the detections of every image.


rule embed:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        images=f"{RUN}/dataset/images.npy",
        pool=f"{CYCLE}/pool.json",
        detector=f"{CYCLE}/detector.safetensors",
    output:
        embeddings=f"{CYCLE}/embeddings.npz",
        detections=f"{CYCLE}/detections.npz",
    log:
        f"{RUN}/logs/embed/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/embed/{JOB}.tsv"
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        how="",
        settings=settings("embed"),
        code=code("embed", DETECTOR),
    message:
        f"{WHO}: detect and embed, in the whole pool"
    shell:
        f"{MGRAL} embed --params -"
        " --dataset {input.dataset} --images {input.images} --pool {input.pool}"
        " --detector {input.detector} --embeddings {output.embeddings} --detections {output.detections} {params.how}"
        " <<< {params.settings:q} 2> {log}"
