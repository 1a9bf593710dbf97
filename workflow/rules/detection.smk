# The detector of a cycle, and what it sees in the whole pool. {part} is empty, or replay/: the detector of the pool from
# which labelled images are split off, and what it sees in these.


rule train:
    input:
        dataset=dataset_of,
        images=RUN.images,
        pool=PART.pool,
    output:
        PART.detector,
        PART.training,
        metrics=PART.metrics,
    log:
        log_of("train", PART_JOB),
    benchmark:
        benchmark_of("train", PART_JOB)
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        **step("train", DETECTOR),
        seed=lambda wildcards: int(wildcards.seed),
    message:
        f"{WHO}{{params.of}}: train the detector"
    shell:
        f"{MGRAL} train --params {{params.file}} --dataset {{input.dataset}} --images {{input.images}}"
        ' --pool {input.pool} --seed {params.seed} --out "$(dirname {output.metrics})" 2> {log}'


rule embed:
    input:
        **FOUNDATION,
        dataset=dataset_of,
        images=RUN.images,
        pool=CYCLE.pool,
        detector=CYCLE.detector,
    output:
        embeddings=CYCLE.embeddings,
        detections=CYCLE.detections,
    log:
        log_of("embed", JOB),
    benchmark:
        benchmark_of("embed", JOB)
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        **requested("embed"),
        gpu=GPU,
    params:
        **step("embed", DETECTOR),
        hint="",
        keep=lambda wildcards: PLAN.kept(wildcards.strategy, READ),
        foundation=lambda wildcards, input: options(input, "foundation"),
    message:
        f"{WHO}: detect and embed, in the whole pool"
    shell:
        f"{MGRAL} embed --params {{params.file}} --dataset {{input.dataset}} --images {{input.images}}"
        " --pool {input.pool} --detector {input.detector}"
        " --embeddings {output.embeddings} --detections {output.detections} --keep {params.keep} {params.hint}"
        " {params.foundation} 2> {log}"


# What the detector of a split pool finds in the images that are split off.
use rule embed as embed_replay with:
    input:
        **FOUNDATION,
        dataset=dataset_of,
        images=RUN.images,
        pool=REPLAY.pool,
        detector=REPLAY.detector,
    output:
        embeddings=REPLAY.embeddings,
        detections=REPLAY.detections,
        hint=REPLAY.hint,
    log:
        log_of("embed", f"{run_layout.REPLAY}{JOB}"),
    benchmark:
        benchmark_of("embed", f"{run_layout.REPLAY}{JOB}")
    params:
        **step("embed", DETECTOR),
        hint=lambda wildcards, output: options(output, "hint"),
        keep=lambda wildcards: PLAN.kept(wildcards.strategy, READ),
        foundation=lambda wildcards, input: options(input, "foundation"),
    message:
        f"{WHO}, replay: detect and embed, in the images that are split off"


# Of a frozen backbone: computed once for all proxies of a cycle, and gone when the last of them is trained.
rule backbone_features:
    input:
        dataset=dataset_of,
        images=RUN.images,
        pool=PART.pool,
        detector=PART.detector,
    output:
        temp(PART.backbone_features),
    log:
        log_of("backbone_features", PART_JOB),
    benchmark:
        benchmark_of("backbone_features", PART_JOB)
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        **step("backbone-features", DETECTOR),
        kind=lambda wildcards: run_layout.kind_of(wildcards.part),
    message:
        f"{WHO}{{params.of}}: compute the features of the frozen backbone"
    shell:
        f"{MGRAL} backbone-features --params {{params.file}} --dataset {{input.dataset}} --images {{input.images}}"
        " --pool {input.pool} --detector {input.detector} --kind {params.kind} --out {output} 2> {log}"
