# Replay: a part of the labelled pool is held out, taken for unlabelled, and its batches are priced with their labels.


rule holdout:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        pool=f"{CYCLE}/pool.json",
    output:
        f"{CYCLE}/replay/pool.json",
    log:
        f"{RUN}/logs/holdout/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/holdout/{JOB}.tsv"
    conda:
        "../envs/mgral.yaml"
    params:
        settings=settings("replay-split"),
        code=code("replay-split"),
    message:
        f"{WHO}: hold labelled images out, for replay"
    shell:
        "mgral replay-split --params - --dataset {input.dataset} --pool {input.pool}"
        " --seed {wildcards.seed} --out {output} <<< {params.settings:q} 2> {log}"


# Where these proxies start: the cycle's own detector has seen what is held out.
use rule train as train_replay with:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        images=f"{RUN}/dataset/images.npy",
        pool=f"{CYCLE}/replay/pool.json",
    output:
        f"{CYCLE}/replay/detector.safetensors",
        f"{CYCLE}/replay/train.csv",
        metrics=f"{CYCLE}/replay/metrics.json",
    log:
        f"{RUN}/logs/train_replay/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/train_replay/{JOB}.tsv"
    message:
        f"{WHO}: train the detector that has not seen what is held out"


# What that detector finds in the images that are held out.
use rule embed as embed_replay with:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        images=f"{RUN}/dataset/images.npy",
        pool=f"{CYCLE}/replay/pool.json",
        detector=f"{CYCLE}/replay/detector.safetensors",
    output:
        embeddings=f"{CYCLE}/replay/embeddings.npz",
        detections=f"{CYCLE}/replay/detections.npz",
        hint=f"{CYCLE}/replay/hint.json",
    log:
        f"{RUN}/logs/embed_replay/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/embed_replay/{JOB}.tsv"
    params:
        how=f"--hint {CYCLE}/replay/hint.json",
        settings=settings("embed"),
        code=code("embed", DETECTOR),
    message:
        f"{WHO}: detect and embed, in the images that are held out"


use rule backbone_features as backbone_features_replay with:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        images=f"{RUN}/dataset/images.npy",
        pool=f"{CYCLE}/replay/pool.json",
        detector=f"{CYCLE}/replay/detector.safetensors",
    output:
        temp(f"{CYCLE}/replay/backbone_features.npy"),
    log:
        f"{RUN}/logs/backbone_features_replay/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/backbone_features_replay/{JOB}.tsv"
    params:
        kind="replay",
        settings=settings("backbone-features"),
        code=code("backbone-features", DETECTOR),
    message:
        f"{WHO}: compute the maps of the frozen backbone, for replay"


use rule draw as draw_replay with:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        pool=f"{CYCLE}/replay/pool.json",
        embeddings=f"{SEEN_BY_REPLAY}/embeddings.npz",
        detections=f"{SEEN_BY_REPLAY}/detections.npz",
    output:
        f"{CYCLE}/replay/batches.json",
    log:
        f"{RUN}/logs/draw_replay/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/draw_replay/{JOB}.tsv"
    params:
        how="--kind replay",
        settings=settings("sample-batches"),
        code=code("sample-batches"),
    message:
        f"{WHO}: draw batches for the replay proxies"
