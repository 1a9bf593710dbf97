# dvc.yaml: the same graph in DVC's words. Not a part of `all`: `make record` asks for it, and always has it written
# anew, since the file is kept in git and so may be of another experiment.


localrules:
    track,


rule track:
    input:
        "workflow/dvc.yaml.j2",
    output:
        "dvc.yaml",
    log:
        f"{RUN}/logs/track/all.log",
    params:
        overrides=OVERRIDES,
        run=RUN,
        sources=source_roots,
        dataset=[f"{RUN}/dataset", *([RAW] if GENERATED else [])],
        seeds=SEEDS,
        shared=shared_targets(),
        cycles=list(tracked_cycles()),
        results=RESULTS,
        metrics=METRICS,
        searched=searched_folders(),
        figures=["per_class", "timings"],
    message:
        "dvc.yaml for this experiment"
    template_engine:
        "jinja2"
