# The last pool of the first strategy and seed, trained again and in part (detection.smk): how far trainings of one pool
# lie apart, and what further images would bring.


use rule step as noise with:
    input:
        metrics=expand(RETRAINED.metrics, repeat=range(EXPERIMENT.noise.repeats)),
    output:
        out=RUN.noise,
    log:
        log_of("noise"),
    params:
        **step("noise", reads=False),


use rule step as subset with:
    input:
        pool=LAST_POOL,
    output:
        out=PART_OF_POOL.pool,
    log:
        log_of("subset", PART_OF_POOL),
    localrule: True
    params:
        **step("subset", reads=False, share=FILES.share, draw="{number}", seed=FILES.seed),


use rule step as stopping with:
    input:
        noise=NOISE,
        metrics=[
            f"{PLAN.last_folder}/{run_layout.CYCLE.metrics}",
            *expand(PART_OF_POOL.metrics, number=PLAN.parts()),
        ],
    output:
        out=RUN.stopping,
    log:
        log_of("stopping"),
    localrule: True
    params:
        **step("stopping"),
