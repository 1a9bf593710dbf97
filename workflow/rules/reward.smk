# Rewards: batches are sampled, a proxy is trained for each, and the records are indexed. {part} names round and kind:
# empty or replay{split}/, with second_round/ before it where the agent of the first round draws the batches. {split} is
# empty, and -2, -3, … of further replay splits.


rule replay_split:
    input:
        **FILES.named(CYCLE, "dataset", "pool"),
    output:
        out=REPLAY.pool,
    log:
        log_of("replay_split{split}", JOB),
    benchmark:
        benchmark_of("replay_split{split}", JOB)
    conda:
        "../envs/mgral.yaml"
    params:
        **step("replay-split"),
        seed=FILES.seed,
    message:
        f"{WHO}: split labelled images off, for replay{{wildcards.split}}"
    shell:
        "mgral replay-split {params.options} --seed {params.seed} 2> {log}"


rule sample_batches:
    input:
        unpack(FILES.sampled),
    output:
        out=PART.batches,
    log:
        log_of("sample_batches", PART_JOB),
    benchmark:
        benchmark_of("sample_batches", PART_JOB)
    conda:
        "../envs/mgral.yaml"
    resources:
        **asked("sample_batches"),
    params:
        **step("sample-batches"),
        kind=lambda wildcards: run_layout.kind_of(wildcards.part),
        temperature=lambda wildcards: PLAN.temperature(wildcards.part),
        seed=FILES.seed,
    message:
        f"{WHO}{{params.of}}: sample batches for the proxies"
    shell:
        "mgral sample-batches {params.options} --kind {params.kind} {params.temperature} --seed {params.seed} 2> {log}"


# Starting an interpreter with torch costs seconds, so a job trains several proxies, one after the other. One rule for
# each such chunk; its jobs run beside those of the other chunks. Which records it makes follows from its outputs, so
# that another size of the chunks trains nothing again.
for some in PLAN.proxies:
    for position, names, rivals in some.jobs(EXPERIMENT.proxy):

        rule:
            name:
                f"{some.rule}_{position}"
            input:
                **FILES.trained(some, rivals),
            output:
                FILES.in_cycle(f"{some.folder}{name}.json" for name in names),
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
                seed=FILES.seed_of(some.split),
                records=lambda wildcards, output: proxy_plan.options(output),
            message:
                f"{WHO}{run_layout.part_in_words(some.folder)}: train proxies {position} to {position + len(names) - 1}"
            shell:
                f"{MGRAL} proxy {{params.options}} --kind {{params.kind}} {{params.records}}"
                ' --seed {params.seed} --out "$(dirname {input.batches})" 2> {log}'


rule table:
    input:
        unpack(FILES.indexed),
    output:
        FILES.table(),
        PART.audit,
    log:
        log_of("table", PART_JOB),
    benchmark:
        benchmark_of("table", PART_JOB)
    conda:
        "../envs/mgral.yaml"
    threads: THREADS
    resources:
        **asked("table"),
    params:
        **step("table"),
    message:
        f"{WHO}{{params.of}}: index the records and audit the table"
    shell:
        "mgral table {params.options} --out {params.folder} 2> {log}"
