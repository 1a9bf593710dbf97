"""What workflow/rules/scheduler.smk reaches into is still there in the Snakemake that is installed."""

from __future__ import annotations

from dataclasses import fields

from snakemake.cli import get_argument_parser
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake.settings.types import MaxJobsPerTimespan, SchedulingSettings


def test_the_scheduler_has_the_limit_that_is_lifted() -> None:
    assert "job_rate_limiter" in JobScheduler.__init__.__code__.co_names
    assert "job_rate_limiter" in {name for code in methods(JobScheduler) for name in code.co_names}
    assert "max_jobs_per_timespan" in {field.name for field in fields(SchedulingSettings)}


def test_the_default_is_the_limit_that_the_rule_knows() -> None:
    limit = get_argument_parser().get_default("max_jobs_per_timespan")
    parsed = MaxJobsPerTimespan.parse_choice(limit) if isinstance(limit, str) else limit
    assert (parsed.max_jobs, parsed.timespan) == (100, 1)


def methods(cls: type) -> list:
    """The code of every method but the constructor."""
    return [value.__code__ for name, value in vars(cls).items() if name != "__init__" and hasattr(value, "__code__")]
