# dvc.yaml: the same graph in DVC's words. Not a part of `all`: `make record` asks for it, and always has it written
# again, since the file is kept in git and so may be of another experiment.


rule track:
    input:
        "workflow/dvc.yaml.j2",
    output:
        "dvc.yaml",
    log:
        log_of("track"),
    localrule: True
    params:
        **stages.of(PLAN, OVERRIDES),
    message:
        "dvc.yaml for this experiment"
    template_engine:
        "jinja2"
