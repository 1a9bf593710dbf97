# The data set in canonical form, its images decoded once, the initial pools, and what strategies share of cycle 0.

if PLAN.generated:

    use rule step as generate with:
        output:
            f"{PLAN.raw}/annotations.json",
            PLAN.generated_images(),
        log:
            log_of("generate"),
        params:
            **step("generate", out=folder_of_output),


rule import_data:
    input:
        PLAN.source.annotations if PLAN.source else f"{PLAN.raw}/annotations.json",
        PLAN.generated_images(),
        registered=ancient(PLAN.registered),
    output:
        out=RUN.dataset,
    log:
        log_of("import_data"),
    conda:
        "../envs/mgral.yaml"
    # It decodes by several processes; a cluster is asked for no more than one processor.
    threads: lambda wildcards: 8 if workflow.local_exec else 1
    params:
        **step("import", FORMAT, experiment=lambda wildcards, output: INPUTS.file("mgral.data.fitness")),
        images=PLAN.listing,
    message:
        "{params.message}"
    shell:
        "mgral {params.command} 2> {log} && {{ grep '^warning: ' {log} >&2 || true; }}"


use rule step as cache with:
    input:
        PLAN.generated_images(),
        dataset=RUN.dataset,
    output:
        out=RUN.images,
    log:
        log_of("cache"),
    params:
        **step("cache"),
        images=PLAN.listing,


# Images as a backbone sees them that is no part of the detector: for embeddings, and to choose before any detector is
# trained.
use rule step_of_detector as foundation_features with:
    input:
        PLAN.weights_of_backbone,
        dataset=RUN.dataset,
        images=RUN.images,
    output:
        out=RUN.foundation,
    log:
        log_of("foundation_features"),
    params:
        **step("foundation-features", patterns=PLAN.by_patterns),


use rule step as pool with:
    input:
        dataset=RUN.dataset,
        patterns=RUN.foundation if EXPERIMENT.budget.initial_by == "freesel" else [],
    output:
        out=f"{PLAN.shared_folder('{seed}')}/{run_layout.CYCLE.pool}",
    log:
        log_of("pool", "shared-{seed}-0"),
    localrule: True
    params:
        **step("pool", seed="{seed}"),


# Up to the agent, cycle 0 of a seed is the same for every strategy. It is computed once, with 'shared' in the place of
# a strategy, and copied: share_detector, share_evidence, share_agent.
for what, names in PLAN.shared().items():

    rule:
        name:
            f"share_{what}"
        input:
            [f"{PLAN.shared_folder('{seed}')}/{name}" for name in names],
        output:
            [f"{run_layout.cycle_folder(PLAN.run, '{label}', cycle=0)}/{name}" for name in names],
        log:
            log_of(f"share_{what}", "{label}-{seed}-0"),
        localrule: True
        conda:
            "../envs/mgral.yaml"
        message:
            "{wildcards.label}, seed {wildcards.seed}: take what all strategies share in cycle 0"
        shell:
            "from=({input:q}); to=({output:q}); "
            'for i in "${{!to[@]}}"; do cp "${{from[i]}}" "${{to[i]}}.part" && mv "${{to[i]}}.part" "${{to[i]}}"'
            ' || {{ rm -f "${{to[i]}}.part"; exit 1; }}; done 2> {log}'
