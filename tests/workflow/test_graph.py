"""What Snakemake would run, from a dry run: no step is executed."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from checkouts import Checkout, job_stats

from mgral.config import loading
from mgral.core.files import read_json
from mgral.core.rule_names import RULES, TEMPLATES, rule_of
from mgral.planning import forecast, requests
from mgral.report.jobs import of_run

# A second round, drawn by the agent, needs another price than the demo's.
GENERATORS = "generators: {random: 0.4, uncertain: 0.2, cluster: 0.2, class: 0.2, designed: 0, agent: %s}"
PRICE = "table: {representation: embedding, surrogate: ridge, carry: %d}\n"


def test_demo(project: Checkout):
    # base.yaml: strategies random, entropy, mgral; seeds 0, 1; cycles 0, 1, 2; 24 + 2 replay proxies, 13 a job
    jobs = project.plan(params="params/base.yaml")
    tables = 2 + 1 * 2 * 1  # for mgral only
    assert jobs["train"] == 2 + 3 * 2 * 2 + tables  # cycle 0 once a seed, later ones once a strategy; and for replay
    assert jobs["embed"] == 2 + 2 * 2 * 1  # cycle 0 shared; cycle 1 for entropy and mgral; the last selects nothing
    for rule in ("replay_split", "sample_batches", "table", "search"):
        assert jobs[rule] == tables
    assert jobs["proxy_replay"] == 4 * 2  # two chunks each
    assert not {"proxy", "backbone_features"} & set(jobs)
    assert jobs["select"] == 3 * 2 * 2
    assert jobs["annotate"] == 3 * 2 * 2
    assert jobs["share_detector"] == 3 * 2
    assert jobs["share_evidence"] == 2 * 2
    assert jobs["share_agent"] == 1 * 2
    assert jobs["generate"] == jobs["import_data"] == jobs["cache"] == jobs["curve"] == jobs["report"] == 1
    assert jobs["comparison"] == 1


def test_the_forecast_and_the_job_table_know_every_rule(project: Checkout):
    listed = re.findall(r"^\w+$", project.snakemake("--list-rules"), re.MULTILINE)
    assert {rule_of(name) for name in listed} == set(RULES) | set(TEMPLATES)


def test_compare_is_the_whole_experiment(project: Checkout):
    everything = project.plan("all")
    assert project.plan("compare") == everything - Counter({"all": 1}) + Counter({"compare": 1})


def test_baselines_neither_learn_nor_cheat(project: Checkout):
    (project.root / "params/all.yaml").write_text(
        "experiment: all\nstrategies: [random, oracle_rare, coreset, mgral, most_boxes]\n"
    )
    text = project.snakemake("--dry-run", "--printshellcmds", params="params/all.yaml")
    (command,) = (line for line in text.splitlines() if "mgral compare" in line)
    assert "--baselines random coreset most_boxes 2>" in command


def test_the_forecast_counts_the_jobs_of_a_dry_run(project: Checkout):
    jobs = project.plan("all")
    text = project.snakemake("--", "forecast")
    total = sum(jobs.values())
    assert f"tiny: {total} jobs, from nothing" in text
    found = {name: int(count) for name, count in re.findall(r"^  (\w+) +(\d+) +[\d.]+ \w+ +[\d.]+ \w+$", text, re.M)}
    silent = {"all", "share_detector", "share_evidence", "share_agent"}  # they take no time
    loud: Counter[str] = Counter()
    for rule, count in jobs.items():
        if rule not in silent:
            loud[re.sub("^proxy_.*", "proxy", rule)] += count
    assert found == loud
    # tiny.yaml: cycle 0 once, cycle 1 for random, ll4al and mgral; 4 records, 2 controls, 1 repeat; noise.repeats: 2
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert {"detectors 4", "detectors, for the noise 2", "proxies 7", "agents 1"} <= set(lines)


@pytest.mark.parametrize("kind", ["unlabelled", "replay", "both"])
@pytest.mark.parametrize("agent", [0.0, 0.25])
def test_kinds_and_rounds_of_records(project: Checkout, kind, agent):
    # the demo's four tables, of 12 records, 8 a job; an agent's share adds a second round to each kind
    (project.root / "params/kinds.yaml").write_text(
        f"experiment: kinds\nproxy: {{kind: {kind}, records: 12, per_job: 8, {GENERATORS % agent}}}\n{PRICE % 0}"
    )
    answer = project.snakemake("--dry-run", "--printshellcmds", params="params/kinds.yaml")
    jobs = job_stats(answer)
    kinds = ["unlabelled", "replay"] if kind == "both" else [kind]
    rounds = 2 if agent else 1
    replay = 4 if "replay" in kinds else 0
    assert (jobs["replay_split"], jobs["train"]) == (replay, 2 + 3 * 2 * 2 + replay)
    assert jobs["sample_batches"] == 4 * len(kinds) * rounds
    assert jobs["table"] == jobs["search"] == 4 * rounds
    folders = ["second_round/", ""] if agent else [""]
    for part in (f"{folder}{below}" for folder in folders for below in ("", "replay/")):
        made = [line for line in answer.splitlines() if re.search(rf"--out \S+/cycle-\d/{part}batches.json", line)]
        assert len(made) == (4 if ("replay" if part.endswith("replay/") else "unlabelled") in kinds else 0)
        assert all(("--agent" in line) == ("--temperature 1.0" in line) == part.startswith("second") for line in made)
    # Of 12 records of one kind, 9 or 12 in the first round: with 4 or 2 for the audit two jobs. Of 6 likewise, 5 or 6:
    # with 4 two jobs or, with an agent's share, 9 in all; with 2 one job.
    two = {"proxy"} if kind == "both" else {"proxy", "proxy_replay"}
    proxies = {"unlabelled": ["proxy", "proxy_second_round"], "replay": ["proxy_replay", "proxy_second_round_replay"]}
    expected = {name: 8 if name in two else 4 for one in kinds for name in proxies[one][:rounds]}
    assert {name: count for name, count in jobs.items() if name.startswith("proxy")} == expected


def test_hopeless_proxies_race_against_random_ones(project: Checkout):
    """Of 10 records 4 are random; with two repeats these are one job, and the other six another, which waits for it."""
    text = "experiment: race\nseeds: [0]\ncycles: 2\nstrategies: [mgral]\n"
    (project.root / "params/race.yaml").write_text(f"{text}proxy: {{records: 10, per_job: 6, stop_at: 0.5}}\n")
    answer = project.snakemake("--dry-run", "--printshellcmds", params="params/race.yaml")
    commands = [line for line in answer.splitlines() if "mgral proxy" in line]
    assert len(commands) == 2
    folder = "data/runs/race/shared/seed-0/cycle-0/replay"
    assert "--batch 0 1 2 3 --repeat 1 2 " in commands[0] and "--rivals" not in commands[0]
    assert f"--rivals {' '.join(f'{folder}/proxies/{k}.json' for k in range(4))} --kind" in commands[1]
    assert "--batch 4 5 6 7 8 9 " in commands[1] and "--repeat" not in commands[1]


def test_a_table_carries_the_records_of_earlier_cycles(project: Checkout):
    """Cycle 0's from the strategy's own copy; the same jobs as without."""
    text = "experiment: carry\nseeds: [0]\ncycles: 4\nstrategies: [random, mgral]\n"
    text += f"proxy: {{{GENERATORS % 0.25}}}\n{PRICE}"
    carry = project.root / "params/carry.yaml"
    plans, found = [], {}
    for count in (0, 1, 2):
        carry.write_text(text % count)
        answer = project.snakemake("--dry-run", "--printshellcmds", params="params/carry.yaml")
        plans.append(job_stats(answer))
        for line in answer.splitlines():
            if "mgral table" in line:
                given = {one.split()[0]: one.split()[1:] for one in line.split(" 2> ")[0].split(" --")[1:]}
                found[count, given["out"][0].removeprefix("data/runs/carry/")] = given.get("carried", [])
    assert plans[0] == plans[1] == plans[2] and plans[0]["table"] == 3 * 2  # of each round

    def of(*cycles):
        names = ("table/records.parquet", "added.json")
        return [f"data/runs/carry/mgral/seed-0/cycle-{cycle}/{name}" for cycle in cycles for name in names]

    expected = {
        (count, f"{strategy}/seed-0/cycle-{cycle}/{part}"): of(*range(max(0, cycle - count), cycle))
        for count in (0, 1, 2)
        for strategy, cycle in (("shared", 0), ("mgral", 1), ("mgral", 2))
        for part in ("table", "second_round/table")
    }
    assert found == expected


def test_what_no_strategy_needs_is_not_made(project: Checkout):
    (project.root / "params/random.yaml").write_text("experiment: only_random\nstrategies: [random]\n")
    jobs = project.plan(params="params/random.yaml")
    assert jobs["train"] == 2 + 2 * 2
    assert not {"embed", "sample_batches", "proxy", "table", "search", "share_evidence", "share_agent"} & set(jobs)


def test_ground_truth_comes_with_the_data_set(project: Checkout):
    # base.yaml: seeds 0, 1; cycles 0, 1, 2, and nothing is selected in the last
    (project.root / "params/controls.yaml").write_text("experiment: controls\nstrategies: [oracle_rare, coreset]\n")
    text = project.snakemake("--dry-run", "--printshellcmds", params="params/controls.yaml")
    commands = [line for line in text.splitlines() if "mgral select" in line]
    assert len(commands) == 2 * 2 * 2
    for line in commands:
        assert ("--embeddings" in line) == ("--strategy coreset" in line)
        assert "--truth" not in line and "--detections" not in line
    assert text.count("mgral embed") == 2 + 2 * 1  # cycle 0 once a seed; cycle 1 for coreset


def test_an_assessment_is_made_for_whom_it_serves(project: Checkout):
    # base.yaml: seeds 0, 1; cycles 0, 1, 2, and nothing is selected in the last
    (project.root / "params/score.yaml").write_text("experiment: score\nstrategies: [random, ll4al, cald]\n")
    text = project.snakemake("--dry-run", "--printshellcmds", params="params/score.yaml")
    jobs = job_stats(text)
    assert jobs["score"] == 2 * 2 * 2
    assert jobs["train"] == 2 + 3 * 2 * 2
    assert "embed" not in jobs
    for label, others in (("ll4al", ("cald", "random")), ("cald", ("ll4al", "random"))):
        commands = [line for line in text.splitlines() if re.search(rf"mgral score .* --strategy {label} ", line)]
        assert len(commands) == 2 * 2
        for line in commands:
            assert f"{label}/seed-" in line and line.count("image_scores.npz") == 1
            assert not any(other in line for other in others)
            (given,) = re.findall(r"--params (\S+)", line)
            assert [one["name"] for one in read_json(project.root / given)["strategies"]] == [label]
    selections = [line for line in text.splitlines() if "mgral select" in line]
    assert [("--image-scores" in line) for line in selections] == [
        "--strategy random" not in line for line in selections
    ]


def test_an_own_detector_is_evaluated_in_every_cycle_by_the_training_that_assesses(project: Checkout):
    # base.yaml: seeds 0, 1; cycles 0, 1, 2, and nothing is selected in the last
    (project.root / "params/own.yaml").write_text(
        "experiment: own\nstrategies: [random, mi_aod, {name: theirs, plugin: mi_aod, options: {report: own}}]\n"
    )
    text = project.snakemake("--dry-run", "--printshellcmds", params="params/own.yaml")
    commands = [line for line in text.splitlines() if "mgral score --params" in line]
    cells = {"mi_aod": [(s, c) for s in (0, 1) for c in (0, 1)], "theirs": [(s, c) for s in (0, 1) for c in (0, 1, 2)]}
    for label, wanted in cells.items():
        found = []
        for line in commands:
            if f"--strategy {label} " in line:
                at = re.search(rf"--out data/runs/own/{label}/seed-(\d)/cycle-(\d)/image_scores.npz ", line)
                assert at is not None
                own = f"--own data/runs/own/{label}/seed-{at[1]}/cycle-{at[2]}/own.json "
                assert (own in line) == ("--own" in line) == (label == "theirs")
                found.append((int(at[1]), int(at[2])))
        assert sorted(found) == wanted
    assert len(commands) == 4 + 6
    assert text.count("mgral train --params") == 2 + 3 * 2 * 2 + 4  # and base.yaml's noise.repeats
    after = project.plan("next", params="params/own.yaml")  # a batch after the last cycle trains nothing more for it
    assert (after["score"], after["score_own"]) == (6, 6)

    project.snakemake("--force", "--drop-metadata", "--", "dvc.yaml", params="params/own.yaml")
    stages = yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"]["cycle"]["foreach"]
    for label, seed, cycle in itertools.product(cells, (0, 1), (0, 1, 2)):
        files = [Path(name).name for name in stages[f"{label}-{seed}-{cycle}"]["files"].split()]
        made = ["metrics.json", *(["own.json"] if label == "theirs" else []), *(["selected.json"] if cycle < 2 else [])]
        assert files == made


def test_two_settings_of_one_plug_in_have_folders_of_their_own(project: Checkout):
    (project.root / "params/means.yaml").write_text(
        "experiment: means\nseeds: [0]\ncycles: 2\nstrategies:\n"
        "  - {name: entropy_mean, plugin: entropy, options: {aggregate: mean}}\n"
        "  - {name: entropy_max, plugin: entropy, options: {aggregate: max}}\n"
    )
    text = project.snakemake("--dry-run", "--printshellcmds", params="params/means.yaml")
    for label in ("entropy_mean", "entropy_max"):
        assert f"data/runs/means/{label}/seed-0/cycle-0/selected.json" in text
    commands = [line for line in text.splitlines() if "mgral select" in line]
    assert len(commands) == 2
    given = [read_json(project.root / re.findall(r"--params (\S+)", line)[0]) for line in commands]
    assert {(one["name"], one["options"]["aggregate"]) for file in given for one in file["strategies"]} == {
        ("entropy_mean", "mean"),
        ("entropy_max", "max"),
    }


def test_next_chooses_after_the_last_cycle(project: Checkout):
    # tiny.yaml: random, ll4al and mgral, one seed, cycles 0 and 1: of `all` one selection each, and a second one
    jobs = project.plan("next")
    assert jobs["select"] == 3 * 2
    assert jobs["score"] == 2  # for ll4al
    assert jobs["search"] == 2  # shared in cycle 0; in cycle 1 for mgral
    assert jobs["report"] == 1  # it shows the batches


def test_all_strategies_on_blood_cells(project: Checkout):
    # 12 strategies, four of which assess; 3 seeds; 4 cycles; 10 replay records, 5 a job
    jobs = project.plan(params="params/bccd.yaml")
    assert jobs["train"] == 3 + 12 * 3 * 3  # and none for replay: these proxies start from scratch
    assert jobs["score"] == 4 * 3 * 3
    assert jobs["search"] == jobs["replay_split"] == 3 + 3 * 2
    assert jobs["proxy_replay"] == 2 * (3 + 3 * 2)
    assert jobs["generate"] == 0


def test_voc_small(project: Checkout):
    # 4 strategies; 2 seeds; 3 cycles; 16 replay records, 8 a job
    jobs = project.plan(params="params/voc_small.yaml")
    assert jobs["train"] == 2 + 4 * 2 * 2 + 2 + 2
    assert jobs["search"] == jobs["replay_split"] == 2 + 2
    assert jobs["proxy_replay"] == 2 * (2 + 2)
    assert jobs["generate"] == 0


def test_the_published_protocol_on_coco(project: Checkout):
    # five labelled sizes and 30 proxies of each; 3 seeds; 6 strategies, of which mi_aod assesses
    jobs = project.plan(params="params/coco.yaml")
    tables = 3 + 3 * 3  # cycle 0 for all strategies, cycles 1 to 3 for mgral; the last selects nothing
    assert jobs["train"] == 3 + 6 * 3 * 4
    assert jobs["proxy"] == (30 + 2 + 2) * tables  # controls and repeats; one a job
    assert jobs["score"] == 3 * 4
    # 25.6 million weights of the backbone and 10.8 of the rest; a detection as tests/benchmarks/embed.py measured it
    sizes = forecast.Sizes(train=118_287 - 5_000, val=5_000, test=5_000)
    timing = forecast.Timing(
        *[0.0] * 8, detector=146_000_000, agent=2_200_000, detections=18_417, embedding=requests.EMBEDDING
    )
    experiment = loading.read([project.root / "params/base.yaml", project.root / "params/coco.yaml"])
    graph = forecast.Graph(dict(enumerate(name for name, count in jobs.items() for _ in range(count))), {})
    space = forecast.disk(graph, experiment, sizes, timing)
    assert sum(size for name, size in space.items() if name not in (forecast.COPIED, forecast.CACHED)) <= 250e9
    assert requests.peak_memory(jobs, sizes.train)["embed"] <= 4096


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("traning: {steps: 5}\n", "params/bad.yaml: traning: unknown key; did you mean 'training'?"),
        ("cycles: 2\ncycles: 3\n", "params/bad.yaml: key 'cycles' occurs twice at line 2"),
        ("cycles: 050\n", "params/bad.yaml: '050' is read as the number 40 at line 1"),
        ("search: {iteration: 5}\n", "search.iteration: unknown key; did you mean 'iterations'?"),
        ("strategies: [entropi]\n", "did you mean 'entropy'?"),
        ("strategies: [{name: shared, plugin: random}]\n", "'shared' is a folder beside the strategies' own"),
        ("strategies: [{name: figures, plugin: random}]\n", "'figures' is a folder beside the strategies' own"),
        ("dataset: {root: mine}\n", "mine would not be looked at, the format synthetic makes its own images; set"),
        ("dataset: {format: voc, root: 'a{b}'}\n", "braces are wildcards to Snakemake; rename or link the folder"),
        ("dataset: {format: voc}\n", "dataset.root: missing; give the folder of the data set"),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(project: Checkout, text, says):
    (project.root / "params/bad.yaml").write_text(text)
    answer = project.snakemake(params="params/bad.yaml", fails=True)
    assert says in answer
    assert "Traceback" not in answer
    assert not list((project.root / "data").rglob("*.json"))


def test_a_value_on_the_command_line_is_refused(project: Checkout):
    """It would be in no file: neither DVC nor a clone would know of it."""
    answer = project.snakemake("--config", "cycles=4", fails=True)
    assert "--config cycles: parameters are set in files only" in answer
    assert "write them to one in params/" in answer
    assert "Traceback" not in answer


@pytest.mark.slow
def test_dvc_follows_the_demo(project: Checkout):
    """The dvc.yaml in git is the one that the demo's parameters give."""
    kept = (project.root / "dvc.yaml").read_text()
    project.call("snakemake", "--cores", "1", "--force", "--drop-metadata", "--", "dvc.yaml")
    assert (project.root / "dvc.yaml").read_text() == kept


@pytest.mark.slow
def test_every_rule_says_where_it_runs_and_what_it_took(finished: Checkout):
    """Each job has its log, and the log of each verb ends with what it took; copies have none."""
    logs = finished.files("logs/**/*.log")
    took = {f"logs/{job.step}/{job.name}.log" for job in of_run(finished.run_folder)}
    assert took == {name for name in logs if not name.startswith("logs/share_")}
    assert len(logs) == job_stats(finished.snakemake("--dry-run", "--forceall")).total() - 1  # all
    assert "logs/train/shared-0-0.log" in took
    assert "logs/train/mgral-0-1.log" in took
    assert "logs/proxy/shared-0-0-2.log" in took  # tiny.yaml: records 0, 1 and 2, 3


@pytest.mark.slow
def test_copies_of_what_is_shared_are_whole(finished: Checkout):
    shared = finished.files("shared/seed-0/cycle-0/**/*")
    copies = finished.files("mgral/seed-0/cycle-0/**/*")
    # detector's, evidence, batches, records, control and repeats, table, agent's
    assert len(shared) == 4 + 2 + 1 + 4 + 3 + 3 + 3
    for path, content in shared.items():
        assert copies[path.replace("shared", "mgral", 1)] == content
    selected = read_json(finished.run_folder / "mgral/seed-0/cycle-0/selected.json")
    assert len(selected["picks"]) == 4  # tiny.yaml: budget.batch
