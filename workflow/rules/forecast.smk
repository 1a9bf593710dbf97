# What the experiment will take, said before it runs. It asks for the data set's list of images and trains a few steps.

import sys


localrules:
    forecast,


# The jobs are those of a graph that Snakemake resolves for these very parameters, as if nothing had been made yet.
rule forecast:
    input:
        source_images(),
        dataset=f"{RUN}/dataset/dataset.json",
    log:
        f"{RUN}/logs/forecast/all.log",
    conda:
        ENV_OF_DETECTOR
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        snakemake=f"{sys.executable} -m snakemake",
        cores=lambda wildcards: workflow.cores or 1,
        settings=settings("forecast"),
    message:
        "probe what a step takes"
    shell:
        "folder=$(mktemp -d) && trap 'rm -r \"$folder\"' EXIT && cat > $folder/params.json <<< {params.settings:q} && "
        "{params.snakemake} --cores 1 --nolock --forceall --d3dag --configfile $folder/params.json -- all"
        " > $folder/graph.json 2> {log} && "
        f"{MGRAL} forecast --params $folder/params.json --dataset {{input.dataset}} --graph $folder/graph.json"
        " --cores {params.cores} 2>> {log}"
