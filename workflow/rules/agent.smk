# The agent of a cycle, trained against the lookup table. {part} is empty, or second_round/: the agent that is trained
# on the records of the first round, and draws the batches of the second.


use rule step_of_detector as search with:
    input:
        FILES.table(),
        PART.audit,
        **FILES.named(CYCLE, "dataset", "images", "pool", "detector", "embeddings", "detections"),
    output:
        [PART.agent, PART.search, PART.added],
    log:
        log_of("search", PART),
    resources:
        **asked("search"),
        gpu=GPU,
    params:
        **step(
            "search",
            DETECTOR,
            SEMI,
            table=folder_of_input,
            no_fallback=FILES.second_round,
            seed="{seed}",
            out=folder_of_output,
        ),
