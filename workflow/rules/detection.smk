# The detector of a cycle, and what it sees in the whole pool. {part} is empty, or replay/, replay-2/, …: the detector of
# a pool from which labelled images are split off, and what it sees in these.

RETRAINED, PART_OF_POOL = FILES.retrained, FILES.part_of_pool
LAST_POOL = f"{PLAN.last_folder}/{run_layout.CYCLE.pool}"


use rule step_of_detector as train with:
    input:
        **FILES.named(PART, "dataset", "images", "pool"),
    output:
        [PART.detector, PART.training, PART.metrics],
    log:
        log_of("train", PART),
    params:
        **step("train", DETECTOR, seed=FILES.seed, out=folder_of_output),


# The last pool of the first strategy and seed again, with seeds that are none of the experiment's (the check of the
# parameters sees to that), and parts of it.
use rule train as retrain with:
    input:
        **FILES.named(RETRAINED, "dataset", "images"),
        pool=LAST_POOL,
    output:
        [RETRAINED.detector, RETRAINED.training, RETRAINED.metrics],
    log:
        log_of("retrain", RETRAINED),
    priority: -1  # no cycle waits for it


use rule train as train_subset with:
    input:
        **FILES.named(PART_OF_POOL, "dataset", "images", "pool"),
    output:
        [PART_OF_POOL.detector, PART_OF_POOL.training, PART_OF_POOL.metrics],
    log:
        log_of("train_subset", PART_OF_POOL),


use rule step_of_detector as embed with:
    input:
        **FILES.foundation(),
        **FILES.named(CYCLE, "dataset", "images", "pool", "detector"),
    output:
        **FILES.named(CYCLE, "embeddings", "detections"),
    log:
        log_of("embed", CYCLE),
    resources:
        **asked("embed"),
        gpu=GPU,
    params:
        **step("embed", DETECTOR, keep=FILES.kept),


use rule embed as embed_replay with:
    input:
        **FILES.foundation(),
        **FILES.named(REPLAY, "dataset", "images", "pool", "detector"),
    output:
        **FILES.named(REPLAY, "embeddings", "detections", "hint"),
    log:
        log_of("embed", REPLAY),


# Of a frozen backbone: computed once for all proxies of a cycle, and gone when the last of them is trained.
use rule step_of_detector as backbone_features with:
    input:
        **FILES.named(PART, "dataset", "images", "pool", "detector"),
    output:
        out=temp(PART.backbone_features),
    log:
        log_of("backbone_features", PART),
    params:
        **step("backbone-features", DETECTOR, kind=FILES.kind),
