# How often Snakemake starts jobs. The only place that reaches into its scheduler; tests/workflow/test_scheduler.py fails
# when a new version has no such attribute. Upstream: pull request 3744 of snakemake/snakemake.


# Snakemake 9 starts at most 100 jobs a second (--max-jobs-per-timespan), and after each job that ends it asks again
# every second whether it may start more, for as long as the run goes on: after 340 jobs that alone took a fifth of a
# processor. A limit that is not the default is left as it is.
onstart:
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
