# The labels of a selected batch: from the data set, which knows the answers, or from people, real or simulated.


use rule step as export with:
    input:
        PLAN.generated_images(),
        **FILES.named(OWN, "dataset", "selected", "detections", "pool"),
        past=FILES.past,
    output:
        out=OWN.manifest,
    log:
        log_of("export", OWN),
    params:
        **step("export", f"mgral.annotation.tools.{EXPERIMENT.annotation.tool}"),


# What people returned lies outside the run and is never made again. A batch that is closed has brought its own rules,
# so no parameter is read: what is set for a later batch trains no earlier cycle again.
use rule step as labels with:
    input:
        lambda wildcards: PLAN.answers(wildcards.cycle)[1:],
        **FILES.simulated(),
        closed=lambda wildcards: PLAN.answers(wildcards.cycle)[:1],
        dataset=FILES.dataset_before,
    output:
        out=CYCLE.labels,
        out_dataset=CYCLE.dataset,
    log:
        log_of("labels", CYCLE),
    wildcard_constraints:
        cycle=r"[1-9]\d*",
    localrule: True
    params:
        **step(
            *("labels", lambda wildcards: PLAN.tools(int(wildcards.cycle) - 1)),
            reads=not PLAN.asks_people,
            seed="" if PLAN.asks_people else "{seed}",
        ),


use rule step as annotate with:
    input:
        dataset=FILES.dataset,
        pool=FILES.before(run_layout.CYCLE.pool),
        selected=FILES.before(run_layout.CYCLE.selected),
        labels=CYCLE.labels if PLAN.answered else [],
    output:
        out=CYCLE.pool,
    log:
        log_of("annotate", CYCLE),
    wildcard_constraints:
        cycle=r"[1-9]\d*",
    localrule: True
    params:
        **step("annotate", reads=False),
