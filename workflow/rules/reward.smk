# Rewards: batches are sampled, a proxy is trained for each, and the records are indexed. {part} names round and kind:
# empty or replay/, with second_round/ before it where the agent of the first round draws the batches.


rule replay_split:
    input:
        dataset=dataset_of,
        pool=CYCLE.pool,
    output:
        f"{FOLDER}/{run_layout.REPLAY}{run_layout.CYCLE.pool}",
    log:
        log_of("replay_split", JOB),
    benchmark:
        benchmark_of("replay_split", JOB)
    conda:
        "../envs/mgral.yaml"
    params:
        **step("replay-split"),
    message:
        f"{WHO}: split labelled images off, for replay"
    shell:
        "mgral replay-split --params {params.file} --dataset {input.dataset} --pool {input.pool}"
        " --seed {wildcards.seed} --out {output} 2> {log}"


rule sample_batches:
    input:
        unpack(second_round),
        dataset=dataset_of,
        pool=lambda wildcards: f"{FOLDER}/{wildcards.part.removeprefix(SECOND)}{run_layout.CYCLE.pool}",
        embeddings=lambda wildcards: f"{FOLDER}/{PLAN.sampled_by(wildcards.part)}{run_layout.CYCLE.embeddings}",
        detections=lambda wildcards: f"{FOLDER}/{PLAN.sampled_by(wildcards.part)}{run_layout.CYCLE.detections}",
    output:
        PART.batches,
    log:
        log_of("sample_batches", PART_JOB),
    benchmark:
        benchmark_of("sample_batches", PART_JOB)
    conda:
        "../envs/mgral.yaml"
    resources:
        **requested("sample_batches"),
    params:
        **step("sample-batches"),
        kind=lambda wildcards: run_layout.kind_of(wildcards.part),
        second=lambda wildcards, input: options(input, "agent", "first"),
        temperature=lambda wildcards: (
            ["--temperature", EXPERIMENT.search.temperature] if wildcards.part.startswith(SECOND) else []
        ),
    message:
        f"{WHO}{{params.of}}: sample batches for the proxies"
    shell:
        "mgral sample-batches --params {params.file} --dataset {input.dataset} --pool {input.pool}"
        " --embeddings {input.embeddings} --detections {input.detections} --kind {params.kind} {params.second}"
        " {params.temperature}"
        " --seed {wildcards.seed} --out {output} 2> {log}"


# Starting an interpreter with torch costs seconds, so a job trains several proxies, one after the other. One rule for
# each such chunk; its jobs run beside those of the other chunks. Which records it makes follows from its outputs, so
# that another size of the chunks trains nothing again.
for some in PLAN.proxies:
    for position, names, rivals in some.jobs(EXPERIMENT.proxy):

        rule:
            name:
                f"{some.rule}_{position}"
            input:
                dataset=dataset_of,
                images=RUN.images,
                pool=in_cycle([home(some) + run_layout.CYCLE.pool]),
                detector=in_cycle([home(some) + run_layout.CYCLE.detector] if PLAN.from_detector else []),
                batches=in_cycle([some.folder + run_layout.CYCLE.batches]),
                backbone_features=in_cycle([home(some) + run_layout.CYCLE.backbone_features] if PLAN.frozen else []),
                rivals=in_cycle(rivals),
            output:
                in_cycle([f"{some.folder}{name}.json" for name in names]),
            log:
                log_of("proxy", f"{some.folder}{JOB}-{position}"),
            benchmark:
                benchmark_of("proxy", f"{some.folder}{JOB}-{position}")
            conda:
                ENV_OF_DETECTOR
            threads: THREADS
            resources:
                gpu=GPU,
            params:
                **step("proxy", DETECTOR, SEMI),
                kind=some.kind,
                records=lambda wildcards, output: proxy_plan.options(output),
            message:
                f"{WHO}{run_layout.part_in_words(some.folder)}: train proxies {position} to {position + len(names) - 1}"
            shell:
                f"{MGRAL} proxy --params {{params.file}} --dataset {{input.dataset}} --images {{input.images}}"
                " --pool {input.pool} --batches {input.batches} --kind {params.kind} {params.records}"
                + (" --detector {input.detector}" if PLAN.from_detector else "")
                + (" --backbone-features {input.backbone_features}" if PLAN.frozen else "")
                + (" --rivals {input.rivals}" if rivals else "")
                + ' --seed {wildcards.seed} --out "$(dirname {input.batches})" 2> {log}'


rule table:
    input:
        unpack(records_of_table),
        **of_growth(),
        embeddings=CYCLE.embeddings,
        detections=CYCLE.detections,
        carried=lambda wildcards: PLAN.carried(wildcards.strategy, wildcards.seed, int(wildcards.cycle)),
    output:
        PART.records,
        PART.index,
        [f"{FOLDER}/{{part}}{name}" for name in PLAN.price],
        audit=PART.audit,
    log:
        log_of("table", PART_JOB),
    benchmark:
        benchmark_of("table", PART_JOB)
    conda:
        "../envs/mgral.yaml"
    threads: THREADS
    resources:
        **requested("table"),
    params:
        **step("table"),
        growth=lambda wildcards, input: options(input, *of_growth()),
    message:
        f"{WHO}{{params.of}}: index the records and audit the table"
    shell:
        "mgral table --params {params.file} --embeddings {input.embeddings} --detections {input.detections}"
        " --records {input.proxies} --carried {input.carried} --control {input.control} --repeats {input.repeats}"
        ' {params.growth} --out "$(dirname {output.audit})" 2> {log}'
