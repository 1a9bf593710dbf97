# The agent of a cycle, trained against the lookup table. {part} is empty, or second_round/: the agent that is trained
# on the records of the first round, and draws the batches of the second.


rule search:
    input:
        PART.records,
        PART.index,
        [f"{FOLDER}/{{part}}{name}" for name in PLAN.price],
        dataset=dataset_of,
        images=RUN.images,
        pool=CYCLE.pool,
        detector=CYCLE.detector,
        embeddings=CYCLE.embeddings,
        detections=CYCLE.detections,
        audit=PART.audit,
    output:
        PART.search,
        PART.added,
        agent=PART.agent,
    log:
        log_of("search", PART_JOB),
    benchmark:
        benchmark_of("search", PART_JOB)
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        **requested("search"),
        gpu=GPU,
    params:
        **step("search", DETECTOR, SEMI),
        fallback=lambda wildcards: "--no-fallback" if wildcards.part else "",
    message:
        f"{WHO}{{params.of}}: train the agent"
    shell:
        f"{MGRAL} search --params {{params.file}} --dataset {{input.dataset}} --images {{input.images}}"
        " --pool {input.pool} --detector {input.detector} --embeddings {input.embeddings}"
        ' --detections {input.detections} --table "$(dirname {input.audit})" {params.fallback}'
        ' --seed {wildcards.seed} --out "$(dirname {output.agent})" 2> {log}'
