# The agent of a cycle, trained against the lookup table. {part} is empty, or second_round/: the agent that is trained
# on the records of the first round, and draws the batches of the second.


rule search:
    input:
        FILES.table(),
        PART.audit,
        **FILES.named(CYCLE, "dataset", "images", "pool", "detector", "embeddings", "detections"),
    output:
        PART.agent,
        PART.search,
        PART.added,
    log:
        log_of("search", PART_JOB),
    benchmark:
        benchmark_of("search", PART_JOB)
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        **asked("search"),
        gpu=GPU,
    params:
        **step("search", DETECTOR, SEMI),
        table=lambda wildcards, input: folder_of(input),
        fallback=lambda wildcards: "--no-fallback" if wildcards.part else "",
    message:
        f"{WHO}{{params.of}}: train the agent"
    shell:
        f"{MGRAL} search {{params.options}} --table {{params.table}} {{params.fallback}}"
        " --seed {wildcards.seed} --out {params.folder} 2> {log}"
