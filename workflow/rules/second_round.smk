# A second round: an agent trained on the first records draws the batches of more of them.


use rule table as table_second_round with:
    input:
        embeddings=f"{CYCLE}/embeddings.npz",
        detections=f"{CYCLE}/detections.npz",
        records=in_cycle(records_of("proxies", second=[False])),
        carried=carried,
        control=[],
        repeats=[],
    output:
        f"{CYCLE}/second_round/table/records.parquet",
        f"{CYCLE}/second_round/table/index.faiss",
        audit=f"{CYCLE}/second_round/table/audit.json",
    log:
        f"{RUN}/logs/table_second_round/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/table_second_round/{JOB}.tsv"
    message:
        f"{WHO}: index the records of the first round"


use rule search as search_second_round with:
    input:
        f"{CYCLE}/second_round/table/records.parquet",
        f"{CYCLE}/second_round/table/index.faiss",
        dataset=f"{RUN}/dataset/dataset.json",
        images=f"{RUN}/dataset/images.npy",
        pool=f"{CYCLE}/pool.json",
        detector=f"{CYCLE}/detector.safetensors",
        embeddings=f"{CYCLE}/embeddings.npz",
        detections=f"{CYCLE}/detections.npz",
        audit=f"{CYCLE}/second_round/table/audit.json",
    output:
        f"{CYCLE}/second_round/search.csv",
        f"{CYCLE}/second_round/added.json",
        agent=f"{CYCLE}/second_round/agent.safetensors",
    log:
        f"{RUN}/logs/search_second_round/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/search_second_round/{JOB}.tsv"
    params:
        how="--no-fallback",
        settings=settings("search"),
        code=code("search", DETECTOR, SEMI),
    message:
        f"{WHO}: train the agent of the second round"


TEMPERATURE = f"--temperature {EXPERIMENT.search.temperature}"


use rule draw as draw_second_round with:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        pool=f"{CYCLE}/pool.json",
        embeddings=f"{CYCLE}/embeddings.npz",
        detections=f"{CYCLE}/detections.npz",
        agent=f"{CYCLE}/second_round/agent.safetensors",
        first=f"{CYCLE}/batches.json",
    output:
        f"{CYCLE}/second_round/batches.json",
    log:
        f"{RUN}/logs/draw_second_round/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/draw_second_round/{JOB}.tsv"
    params:
        how=f"--kind unlabelled --agent {CYCLE}/second_round/agent.safetensors {TEMPERATURE} --first {CYCLE}/batches.json",
        settings=settings("sample-batches"),
        code=code("sample-batches"),
    message:
        f"{WHO}: draw the second round of batches"


use rule draw as draw_second_round_replay with:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        pool=f"{CYCLE}/replay/pool.json",
        embeddings=f"{CYCLE}/embeddings.npz",
        detections=f"{CYCLE}/detections.npz",
        agent=f"{CYCLE}/second_round/agent.safetensors",
        first=f"{CYCLE}/replay/batches.json",
    output:
        f"{CYCLE}/second_round/replay/batches.json",
    log:
        f"{RUN}/logs/draw_second_round_replay/{JOB}.log",
    benchmark:
        f"{RUN}/benchmarks/draw_second_round_replay/{JOB}.tsv"
    params:
        how=f"--kind replay --agent {CYCLE}/second_round/agent.safetensors {TEMPERATURE} --first {CYCLE}/replay/batches.json",
        settings=settings("sample-batches"),
        code=code("sample-batches"),
    message:
        f"{WHO}: draw the second round of replay batches"
