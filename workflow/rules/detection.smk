# The detector of a cycle, and what it sees in the whole pool. {part} is empty, or replay/, replay-2/, …: the detector of
# a pool from which labelled images are split off, and what it sees in these.

RETRAINED, PART_OF_POOL = FILES.retrained, FILES.part_of_pool
LAST_POOL = f"{PLAN.last_folder}/{run_layout.CYCLE.pool}"

# Beside the detectors of the cycles those of the last pool of the first strategy and seed: trained again with seeds that
# are none of the experiment's (the check of the parameters sees to that), and trained on parts of the pool.
for training, job, made, what in [
    ("train", PART_JOB, PART, f"{WHO}{{params.of}}: train the detector"),
    ("retrain", "{repeat}", RETRAINED, "train the last pool again, with other random numbers ({wildcards.repeat})"),
    ("train_subset", "{number}", PART_OF_POOL, "train on a part of the last pool ({wildcards.number})"),
]:

    rule:
        name:
            training
        input:
            **FILES.named(made, "dataset", "images"),
            pool=LAST_POOL if made is RETRAINED else made.pool,
        output:
            made.detector,
            made.training,
            made.metrics,
        log:
            log_of(training, job),
        benchmark:
            benchmark_of(training, job)
        conda:
            ENV_OF_DETECTOR
        threads: THREADS
        resources:
            gpu=GPU,
        params:
            **step("train", DETECTOR),
            seed=FILES.seed,
        message:
            what
        shell:
            f"{MGRAL} train {{params.options}} --seed {{params.seed}} --out {{params.folder}} 2> {{log}}"


for detecting, part, seen, where in [
    ("embed", run_layout.FIRST, CYCLE, "in the whole pool"),
    ("embed_replay", run_layout.SPLIT, REPLAY, "in the images that are split off"),
]:

    rule:
        name:
            detecting
        input:
            **FILES.foundation(),
            **FILES.named(seen, "dataset", "images", "pool", "detector"),
        output:
            **FILES.named(seen, "embeddings", "detections", *(["hint"] if part else [])),
        log:
            log_of("embed", f"{part}{JOB}"),
        benchmark:
            benchmark_of("embed", f"{part}{JOB}")
        conda:
            ENV_OF_DETECTOR
        threads: THREADS
        resources:
            **asked("embed"),
            gpu=GPU,
        params:
            **step("embed", DETECTOR),
            keep=lambda wildcards: PLAN.kept(wildcards.strategy, READ),
        message:
            f"{WHO}{run_layout.part_in_words(part.replace('{split}', '{wildcards.split}'))}: detect and embed, {where}"
        shell:
            f"{MGRAL} embed {{params.options}} --keep {{params.keep}} 2> {{log}}"


# Of a frozen backbone: computed once for all proxies of a cycle, and gone when the last of them is trained.
rule backbone_features:
    input:
        **FILES.named(PART, "dataset", "images", "pool", "detector"),
    output:
        out=temp(PART.backbone_features),
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
        f"{MGRAL} backbone-features {{params.options}} --kind {{params.kind}} 2> {{log}}"
