# What a strategy finds out about the unlabelled images by a look or a training of its own. Of those strategies alone
# that need it, and never shared: two labels of one plug-in may differ in their options.


rule score:
    input:
        dataset=f"{RUN}/dataset/dataset.json",
        images=f"{RUN}/dataset/images.npy",
        pool=f"{OWN_CYCLE}/pool.json",
        detector=f"{OWN_CYCLE}/detector.safetensors",
    output:
        image_scores=f"{OWN_CYCLE}/image_scores.npz",
    log:
        f"{RUN}/logs/score/{{label}}-{{seed}}-{{cycle}}.log",
        losses=f"{RUN}/logs/score/{{label}}-{{seed}}-{{cycle}}.csv",
    benchmark:
        f"{RUN}/benchmarks/score/{{label}}-{{seed}}-{{cycle}}.tsv"
    wildcard_constraints:
        label=one_of(label for label in STRATEGIES if label not in REPORT_OWN),
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        own="",
        settings=settings("score"),
        code=code_of_scores,
    message:
        f"{WHOSE}: score the pool"
    shell:
        f"{MGRAL} score --params - --strategy {{wildcards.label}}"
        " --dataset {input.dataset} --images {input.images} --pool {input.pool}"
        " --detector {input.detector} --seed {wildcards.seed} --out {output.image_scores} {params.own}"
        " --log {log.losses} <<< {params.settings:q} 2> {log[0]}"


# The same training also gives the detector that is evaluated beside the plain one, in every cycle.
use rule score as score_own with:
    output:
        image_scores=f"{OWN_CYCLE}/image_scores.npz",
        own=f"{OWN_CYCLE}/own.json",
    log:
        f"{RUN}/logs/score_own/{{label}}-{{seed}}-{{cycle}}.log",
        losses=f"{RUN}/logs/score_own/{{label}}-{{seed}}-{{cycle}}.csv",
    benchmark:
        f"{RUN}/benchmarks/score_own/{{label}}-{{seed}}-{{cycle}}.tsv"
    wildcard_constraints:
        label=one_of(REPORT_OWN),
    params:
        own=lambda wildcards, output: f"--own {output.own}",
        settings=settings("score"),
        code=code_of_scores,
