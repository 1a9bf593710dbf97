# The data set in canonical form, its images decoded once, the initial pools, and what strategies share of cycle 0.

if PLAN.generated:

    rule generate:
        output:
            f"{PLAN.raw}/annotations.json",
            PLAN.generated_images(),
        log:
            log_of("generate"),
        benchmark:
            benchmark_of("generate")
        conda:
            "../envs/mgral.yaml"
        params:
            **step("generate"),
        message:
            "draw the generated data set"
        shell:
            "mgral generate {params.options} --out {params.folder} 2> {log}"


rule import_data:
    input:
        SOURCE.annotations if SOURCE else f"{PLAN.raw}/annotations.json",
        PLAN.generated_images(),
        registered=ancient(PLAN.registered),
    output:
        out=RUN.dataset,
    log:
        log_of("import_data"),
    benchmark:
        benchmark_of("import_data")
    conda:
        "../envs/mgral.yaml"
    # It decodes by several processes; a cluster is asked for no more than one processor.
    threads: lambda wildcards: 8 if workflow.local_exec else 1
    params:
        **step("import", FORMAT),
        images=LISTING,
        experiment=lambda wildcards, output: INPUTS.file("mgral.data.fitness"),
    message:
        "import the data set: check every image and box"
    shell:
        "mgral import {params.options} --experiment {params.experiment} 2> {log}"
        " && {{ grep '^warning: ' {log} >&2 || true; }}"


rule cache:
    input:
        PLAN.generated_images(),
        dataset=RUN.dataset,
    output:
        out=RUN.images,
    log:
        log_of("cache"),
    benchmark:
        benchmark_of("cache")
    conda:
        "../envs/mgral.yaml"
    params:
        **step("cache"),
        images=LISTING,
    message:
        "decode the images once"
    shell:
        "mgral cache {params.options} 2> {log}"


# Images as a backbone sees them that is no part of the detector: for embeddings, and to choose before any detector is
# trained.
rule foundation_features:
    input:
        PLAN.weights_of_backbone,
        dataset=RUN.dataset,
        images=RUN.images,
    output:
        out=RUN.foundation,
    log:
        log_of("foundation_features"),
    benchmark:
        benchmark_of("foundation_features")
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        **step("foundation-features"),
        patterns="--patterns" if PLAN.by_patterns else "",
    message:
        "embed the pool by a backbone that is no part of the detector"
    shell:
        f"{MGRAL} foundation-features {{params.options}} {{params.patterns}} 2> {{log}}"


rule pool:
    input:
        dataset=RUN.dataset,
        patterns=RUN.foundation if EXPERIMENT.budget.initial_by == "freesel" else [],
    output:
        out=f"{PLAN.shared_folder('{seed}')}/{run_layout.CYCLE.pool}",
    log:
        log_of("pool", "shared-{seed}-0"),
    benchmark:
        benchmark_of("pool", "shared-{seed}-0")
    localrule: True
    conda:
        "../envs/mgral.yaml"
    params:
        **step("pool"),
    message:
        "seed {wildcards.seed}: draw the initial pool"
    shell:
        "mgral pool {params.options} --seed {wildcards.seed} 2> {log}"


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
        benchmark:
            benchmark_of(f"share_{what}", "{label}-{seed}-0")
        localrule: True
        conda:
            "../envs/mgral.yaml"
        message:
            "{wildcards.label}, seed {wildcards.seed}: take what all strategies share in cycle 0"
        shell:
            "from=({input:q}); to=({output:q}); "
            'for i in "${{!to[@]}}"; do cp "${{from[i]}}" "${{to[i]}}.part" && mv "${{to[i]}}.part" "${{to[i]}}"'
            ' || {{ rm -f "${{to[i]}}.part"; exit 1; }}; done 2> {log}'
