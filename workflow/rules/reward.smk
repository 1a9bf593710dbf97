# Rewards: batches are sampled, a proxy is trained for each, and the records are indexed. {part} names round and kind:
# empty or replay{split}/, with second_round/ before it where the agent of the first round draws the batches. {split} is
# empty, and -2, -3, … of further replay splits.


use rule step as replay_split with:
    input:
        **FILES.named(CYCLE, "dataset", "pool"),
    output:
        out=REPLAY.pool,
    log:
        log_of("replay_split{split}", CYCLE),
    params:
        **step("replay-split", seed=FILES.seed),


use rule step as sample_batches with:
    input:
        unpack(FILES.sampled),
    output:
        out=PART.batches,
    log:
        log_of("sample_batches", PART),
    resources:
        **asked("sample_batches"),
    params:
        **step("sample-batches", kind=FILES.kind, temperature=FILES.temperature, seed=FILES.seed),


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
            priority: 1  # what follows is the longest
            conda:
                f"../envs/{detector_jobs.environment(EXPERIMENT)}"
            threads: EXPERIMENT.machine.threads
            resources:
                gpu=GPU,
            params:
                **step(
                    *("proxy", DETECTOR, SEMI),
                    kind=some.kind,
                    seed=FILES.seed_of(some.split),
                    out=lambda wildcards, input: os.path.dirname(input.batches),
                    words=lambda wildcards, output: proxy_plan.options(output),
                ),
            message:
                f"{{params.message}}{run_layout.part_in_words(some.folder)}, {position} to {position + len(names) - 1}"
            shell:
                f"{detector_jobs.command(EXPERIMENT)} {{params.command}} 2> {{log}}"


use rule step as table with:
    input:
        unpack(FILES.indexed),
    output:
        FILES.table(),
        PART.audit,
    log:
        log_of("table", PART),
    threads: EXPERIMENT.machine.threads
    resources:
        **asked("table"),
    params:
        **step("table", out=folder_of_output),
