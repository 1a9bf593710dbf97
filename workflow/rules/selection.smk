# The batch that a strategy wants annotated next, and what it finds out about the unlabelled images before, with a
# network or a training of its own. Scores are made for the strategies that need them, and never shared: two labels of
# one plug-in may differ in their options.

LOSSES = log_of("score", OWN).removesuffix("log") + "csv"


use rule step_of_detector as score with:
    input:
        **FILES.named(OWN, "dataset", "images", "pool", "detector"),
    output:
        out=OWN.image_scores,
    log:
        log_of("score", OWN),
        losses=LOSSES,
    wildcard_constraints:
        label=one_of(label for label in PLAN.strategies if label not in PLAN.reporting_own),
    params:
        **step("score", FILES.modules, DETECTOR, strategy="{label}", seed="{seed}", log=LOSSES),


# Where a strategy reports its own detector, the training that scores also evaluates that one, in every cycle.
use rule score as score_own with:
    output:
        own=OWN.own,
        out=OWN.image_scores,
    wildcard_constraints:
        label=one_of(PLAN.reporting_own),


use rule step as select with:
    input:
        unpack(FILES.evidence),
        **FILES.named(OWN, "dataset", "pool"),
    output:
        out=OWN.selected,
    log:
        log_of("select", OWN),
    threads: EXPERIMENT.machine.threads
    resources:
        **asked("select"),
    params:
        **step("select", FILES.modules, strategy="{label}", seed="{seed}", words=FILES.polish),


# The predicted gains of an agent's batch, before and after polishing, and of the batches that the other strategies
# would choose from the same pool.
use rule select as prices with:
    input:
        **FILES.named(OWN, "dataset", "pool", "embeddings", "detections", "agent", "price"),
        competence=OWN.metrics,
        held_out=FILES.held_out if PLAN.replay_seen else [],
    output:
        out=OWN.prices,
    log:
        log_of("prices", OWN),
    wildcard_constraints:
        label=one_of(PLAN.searchers),
    resources:
        **asked("prices"),
    params:
        **step("prices", *STRATEGIES, strategy="{label}", seed="{seed}", words=FILES.polish),
