# dvc.yaml: the same graph in DVC's words. Not a part of `all`: `make record` asks for it, and always has it written
# again, since the file is kept in git and so may be of another experiment.


localrules:
    track,


rule track:
    input:
        "workflow/dvc.yaml.j2",
    output:
        "dvc.yaml",
    log:
        log_of("track"),
    params:
        overrides=OVERRIDES,
        configfiles="".join(f" --configfile {shlex.quote(file)}" for file in OVERRIDES),
        run=PLAN.run,
        files=vars(run_layout.CYCLE) | vars(run_layout.RUN),
        sources=SOURCE.roots + PLAN.registered if SOURCE else [],
        people=PLAN.asks_people,
        dataset=[RUN.dataset_folder, *([PLAN.raw] if PLAN.generated else [])],
        dataset_files=[f"{PLAN.run}/{name}" for name in PLAN.dataset_files()],
        seeds=EXPERIMENT.seeds,
        shared=lambda wildcards: PLAN.shared_folder("${item}"),  # where a stage of DVC has its seed
        shared_targets=PLAN.shared_targets(),
        cycles=list(PLAN.tracked_cycles()),
        results=PLAN.results(),
        metrics=PLAN.metrics(),
        searched=PLAN.searched_folders(),
        figures=["per_class", "timings"],
    message:
        "dvc.yaml for this experiment"
    template_engine:
        "jinja2"
