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
        how="--kind unlabelled",
        settings=settings("sample-batches"),
        code=code("sample-batches"),
    message:
        f"{WHO}: draw batches for the proxies"
    shell:
        "mgral sample-batches --params - --dataset {input.dataset} --pool {input.pool}"
        " --embeddings {input.embeddings} --detections {input.detections} {params.how}"
        " --seed {wildcards.seed} --out {output} <<< {params.settings:q} 2> {log}"


# What a frozen backbone says of the images that proxies share: computed once, and gone when the last of them is trained.
rule backbone_features:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        images=f"{RUN}/dataset/images.npy",
        pool=f"{CYCLE}/pool.json",
        detector=f"{CYCLE}/detector.safetensors",
    output:
        temp(f"{CYCLE}/backbone_features.npy"),
    log:
        f"{RUN}/logs/backbone_features/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/backbone_features/{JOB}.tsv"
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        kind="unlabelled",
        settings=settings("backbone-features"),
        code=code("backbone-features", DETECTOR),
    message:
        f"{WHO}: compute the maps of the frozen backbone"
    shell:
        f"{MGRAL} backbone-features --params -"
        " --dataset {input.dataset} --images {input.images} --pool {input.pool}"
        " --detector {input.detector} --kind {params.kind} --out {output} <<< {params.settings:q} 2> {log}"


# Starting an interpreter with torch costs seconds, so a job trains several proxies, one after the other. One rule for
# each such chunk; its jobs run beside those of the other chunks. The command takes what it trains from the names of
# its outputs: were it a parameter, another size of the chunks would train everything again.
for some in PROXIES:
    for position, names, rivals in some.jobs(EXPERIMENT.proxy):

        rule:
            name:
                f"{some.rule}_{position}"
            input:
                dataset=f"{RUN}/dataset/dataset.json",
                images=f"{RUN}/dataset/images.npy",
                pool=f"{home_of(some)}/pool.json",
                detector=[f"{home_of(some)}/detector.safetensors"] if STARTED else [],
                batches=f"{CYCLE}/{some.folder}batches.json",
                backbone_features=[f"{home_of(some)}/backbone_features.npy"] if FROZEN else [],
                rivals=in_cycle(rivals),
            output:
                [f"{CYCLE}/{some.folder}{name}.json" for name in names],
            log:
                f"{RUN}/logs/{some.rule}/{JOB}-{position}.log",
            benchmark:
                f"{RUN}/benchmarks/{some.rule}/{JOB}-{position}.tsv"
            conda:
                ENV_OF_DETECTOR
            threads: THREADS
            resources:
                gpu=GPU,
            params:
                kind=some.kind,
                settings=settings("proxy"),
                code=code("proxy", DETECTOR, SEMI),
            message:
                message_of(some, names)
            shell:
                f"{MGRAL} proxy --params -"
                " --dataset {input.dataset} --images {input.images} --pool {input.pool}"
                " --batches {input.batches} --kind {params.kind} --seed {wildcards.seed}"
                + (" --detector {input.detector}" if STARTED else "")
                + (" --backbone-features {input.backbone_features}" if FROZEN else "")
                + (" --rivals {input.rivals}" if rivals else "")
                + " --out {output} <<< {params.settings:q} 2> {log}"


rule table:
    input:
        embeddings=f"{CYCLE}/embeddings.npz",
        detections=f"{CYCLE}/detections.npz",
        records=in_cycle(records_of("proxies")),
        carried=carried,
        control=in_cycle(records_of("control")),
        repeats=in_cycle(records_of("repeats")),
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
    message:
        f"{WHO}: index the records and audit the table"
    shell:
        "mgral table --params - --embeddings {input.embeddings} --detections {input.detections}"
        " --records {input.records}"
        " --carried {input.carried} --control {input.control} --repeats {input.repeats}"
        ' --out "$(dirname {output.audit})" <<< {params.settings:q} 2> {log}'
