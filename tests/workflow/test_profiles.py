"""The profiles: Snakemake accepts every key, and the rules that they name are there."""

from __future__ import annotations

import importlib.util
import os
import re

import pytest
import yaml
from checkouts import Checkout

from mgral.planning.requests import REQUESTS

DETECTOR_RULES = {"train", "retrain", "embed", "proxy", "search", "score"}
PLUGINS = {
    "default": "snakemake",
    "slurm": "snakemake_executor_plugin_slurm",
    "kubernetes": "snakemake_executor_plugin_kubernetes",
}


@pytest.fixture(params=sorted(PLUGINS))
def profile(request: pytest.FixtureRequest) -> str:
    return installed(request.param)


def installed(name: str) -> str:
    """The same name; the test is skipped where the profile's plug-in is absent."""
    if importlib.util.find_spec(PLUGINS[name]) is None:
        pytest.skip(f"{PLUGINS[name]} is absent; its pins are in requirements/")
    return name


@pytest.fixture
def described(project: Checkout) -> Checkout:
    """A project whose rules have no messages: Snakemake prints these in place of a job's resources."""
    for path in (project.root / "workflow/rules").glob("*.smk"):
        text, count = re.subn(r"^ *message:\n.*\n", "", path.read_text(), flags=re.MULTILINE)
        assert count == path.read_text().count("message:")
        path.write_text(text)
    return project


def shares(text: str) -> dict[str, bool]:
    """Of a dry run's jobs: whether the rule takes a share of the GPUs; chunks of proxies count as ``proxy``."""
    found = {}
    for body in re.split(r"^ *(?:local)?rule ", text, flags=re.MULTILINE)[1:]:
        rule = re.sub(r"^proxy_.*\d+$", "proxy", body.partition(":")[0])
        found[rule] = re.search(r"^ *resources: .*\bgpu=1\b", body, re.MULTILINE) is not None
    return found


def test_a_profile_is_accepted_and_asks_for_gpus_only_where_it_is_told_to(described: Checkout, profile):
    without = shares(described.snakemake("--profile", f"profiles/{profile}", "--dry-run"))
    assert not any(without.values())
    given = shares(described.snakemake("--profile", f"profiles/{profile}", "--dry-run", "--resources", "gpu=2"))
    assert {rule for rule, share in given.items() if share} == DETECTOR_RULES
    assert set(given) == set(without)


def test_jobs_ask_for_memory_and_time_by_the_size_of_the_pool(described: Checkout):
    """From the files that there are: as many decoded images of 64 × 64 pixels as COCO has, in a file without blocks."""
    profile = installed("slurm")
    images = described.root / "data/runs/tiny/dataset/images.npy"
    images.parent.mkdir(parents=True)
    images.touch()
    os.truncate(images, 117_266 * 64 * 64 * 3)
    text = described.snakemake("--profile", f"profiles/{profile}", "--dry-run")
    body = re.split(r"^ *rule embed:", text, flags=re.MULTILINE)[1]
    asked = dict(re.findall(r"\b(mem_mb|runtime)=(\d+)", re.search(r"^ *resources: .*$", body, re.MULTILINE)[0]))
    request = REQUESTS["embed"]
    assert asked == {"mem_mb": str(request.memory(117_266)), "runtime": str(request.runtime(117_266))}


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_a_profile_names_rules_that_there_are(project: Checkout, name):
    """Snakemake takes the resources and the group of an unknown rule in silence."""
    content = yaml.safe_load((project.root / f"profiles/{name}/profile.yaml").read_text())
    named = set(content.get("set-resources", {})) | {entry.split("=")[0] for entry in content.get("groups", [])}
    assert named <= set(project.snakemake("--list-rules").split())


@pytest.mark.parametrize(
    ("device", "arguments", "share", "leased"),
    [
        ("cpu", ["--resources", "gpu=2"], False, False),  # told to leave GPUs alone
        ("cuda", [], True, True),  # cannot do without
        ("auto", [], False, True),  # leases one if the machine has any
    ],
)
def test_the_device_says_what_a_detector_asks_for(described: Checkout, device, arguments, share, leased):
    (described.root / "params/device.yaml").write_text(
        f"experiment: device\nmachine: {{device: {device}}}\nproxy: {{kind: unlabelled}}\n"
    )
    text = described.snakemake("--dry-run", "--printshellcmds", *arguments, params="params/device.yaml")
    assert {rule for rule, has in shares(text).items() if has} == (DETECTOR_RULES - {"score"} if share else set())
    assert ("lease.py mgral train" in text) == leased
    assert "lease.py mgral select" not in text


@pytest.mark.slow
def test_giving_a_run_gpus_trains_nothing_again(finished: Checkout):
    text = finished.snakemake("--dry-run", "--resources", "gpu=2")
    assert "Nothing to be done" in text
