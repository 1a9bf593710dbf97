# The data set in canonical form, and its images decoded once.

if GENERATED:

    rule generate:
        output:
            annotations=f"{RAW}/annotations.json",
            images=source_images(),
        log:
            f"{RUN}/logs/generate/all.log",
        benchmark:
            f"{RUN}/benchmarks/generate/all.tsv"
        conda:
            "../envs/mgral.yaml"
        params:
            settings=settings("generate"),
            code=code("generate"),
        message:
            "draw the generated data set"
        shell:
            'mgral generate --params - --out "$(dirname {output.annotations})" <<< {params.settings:q} 2> {log}'


rule import_data:
    input:
        source_annotations,
        source_images(),
    output:
        f"{RUN}/dataset/dataset.json",
    log:
        f"{RUN}/logs/import/all.log",
    benchmark:
        f"{RUN}/benchmarks/import/all.tsv"
    conda:
        "../envs/mgral.yaml"
    params:
        settings=settings("import"),
        images=source_listing,
        code=code("import", FORMAT),
    message:
        "import the data set: check every image and box"
    shell:
        "mgral import --params - --out {output} <<< {params.settings:q} 2> {log}"


rule cache:
    input:
        source_images(),
        dataset=f"{RUN}/dataset/dataset.json",
    output:
        f"{RUN}/dataset/images.npy",
    log:
        f"{RUN}/logs/cache/all.log",
    benchmark:
        f"{RUN}/benchmarks/cache/all.tsv"
    conda:
        "../envs/mgral.yaml"
    params:
        settings=settings("cache"),
        images=source_listing,
        code=code("cache"),
    message:
        "decode the images once"
    shell:
        "mgral cache --params - --dataset {input.dataset} --out {output} <<< {params.settings:q} 2> {log}"
