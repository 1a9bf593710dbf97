"""Parameter files: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mgral import cli
from mgral.config import loading, schema
from mgral.config.base import Settings
from mgral.core import plugins
from mgral.core.errors import MgralError

FOLDER = Path(__file__).resolve().parents[3] / "params"
BASE = FOLDER / "base.yaml"


def refusal(tmp_path: Path, text: str | bytes) -> str:
    """What is said of an experiment's file on top of base.yaml; one line, naming that file."""
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(MgralError) as error:
        loading.read([BASE, path])
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_every_experiment_is_sound() -> None:
    files = sorted(path for path in FOLDER.glob("*.yaml") if path != BASE)
    names = [loading.read([BASE, path]).experiment for path in files]
    assert names == [path.stem for path in files]
    assert {"bccd", "coco", "voc0712"} < set(names)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        # unknown keys, at every depth
        ("traning: {steps: 5}", "traning: unknown key; did you mean 'training'?"),
        ("search: {iteration: 5}", "search.iteration: unknown key; did you mean 'iterations'?"),
        ("dataset: {splits: {vla: 0.1}}", "dataset.splits.vla: unknown key; did you mean 'val'?"),
        ("dataset: {options: {trian: 5}}", "dataset.options.trian: unknown key; did you mean 'train'?"),
        ("proxy: {generators: {randon: 1}}", "proxy.generators.randon"),
        (
            "strategies: [{name: a, plugin: random, option: {}}]",
            "strategies[0].option: unknown key; did you mean 'options'?",
        ),
        (
            "strategies: [{name: entropy, options: {agregate: sum}}]",
            "strategies[0].options.agregate: unknown key; did you mean",
        ),
        # unknown names of plug-ins
        (
            "strategies: [random, entropi]",
            "strategies[1].plugin: unknown name 'entropi' in strategies; did you mean 'entropy'?",
        ),
        ("detector: {name: tinyssd}", "detector.name: unknown name 'tinyssd' in detectors; did you mean 'tiny_ssd'?"),
        ("dataset: {format: cocoo}", "dataset.format: unknown name 'cocoo' in formats; did you mean 'coco'?"),
        ("proxy: {semi: isdd}", "proxy.semi: unknown name 'isdd' in semi; did you mean 'isd'?"),
        # records that could not be compared, or not be made
        ("proxy: {kind: replayed}", "proxy.kind: Input should be 'unlabelled', 'replay' or 'both'"),
        (
            "proxy: {records: 12, generators: {random: 0.05}}",
            "proxy: generators: of 12 replay records none is sure to be random",  # 12 * 0.05 / 0.65 < 1
        ),
        ("proxy: {kind: both, records: 12, replay_share: 0.1}", "of 1 replay records none is sure to be random"),
        ("proxy: {generators: {random: 0, designed: 0, agent: 1}}", "must not all be zero"),
        (
            "proxy: {records: 3, generators: {random: 1, designed: 0, agent: 1.5}}",
            "proxy: generators: the agent needs 2 records before its own; raise records or lower its share",
        ),
        ("proxy: {kind: unlabelled, records: 12, control: 13}", "proxy: control: must be 0 for none, or 2 to 12"),
        ("proxy: {holdout: 0.05}", "proxy.holdout: 0.05 of budget.initial 60 holds out 3 images"),
        (
            "{proxy: {kind: replay}, table: {representation: index, surrogate: ridge}}",
            "table.representation: index compares batches by the images they share",
        ),
        # values out of range or of the wrong kind
        ("cycles: 0", "cycles: Input should be greater than or equal to 1 (given: '0')"),
        ("cycles: two", "cycles: Input should be a valid integer"),
        ("seeds: []", "seeds: List should have at least 1 item"),
        ("seeds: [0, -1]", "seeds[1]: Input should be greater than or equal to 0"),
        ("seeds: 3", "seeds: Input should be a valid list"),
        ("budget: {batch: 0}", "budget.batch: Input should be greater than or equal to 1"),
        ("budget: 20", "budget: Input should be a valid dictionary"),
        ("image_size: 16", "image_size: Input should be greater than or equal to 32"),
        ("training: {learning_rate: 0}", "training.learning_rate: Input should be greater than 0"),
        ("training: {steps: null}", "training.steps: Input should be a valid integer"),
        ("evaluation: {nms_iou: 1.5}", "evaluation.nms_iou: Input should be less than or equal to 1"),
        ("proxy: {stop_at: 1}", "proxy.stop_at: Input should be less than 1"),
        ("proxy: {stop_at: 0.5, steps: 1}", "proxy: stop_at: a run of one step cannot be stopped before its end"),
        ("proxy: {start: middle}", "proxy.start: Input should be 'scratch' or 'detector'"),
        (
            "table: {representation: bag}",
            "table.representation: Input should be 'growth', 'embedding', 'index', 'moments', 'counts' or 'objects'",
        ),
        (
            "table: {representation: moments}",
            "table: surrogate: bayes reads the numbers of representation growth, not moments; set",
        ),
        (
            "table: {prior: balanced}",
            "table.prior: Input should be 'learnable', 'growth' or 'adaptive' (given: 'balanced')",
        ),
        ("table: {carry: -1}", "table.carry: Input should be greater than or equal to 0"),
        ("search: {baseline: mean}", "search.baseline: Input should be 'moving' or 'leave_one_out'"),
        ("search: {temperature: .inf}", "search.temperature: Input should be a finite number"),
        ("table: {threshold_deviations: .nan}", "table.threshold_deviations: Input should be a finite number"),
        ("search: {temperature: 0}", "search.temperature: Input should be greater than 0"),
        ("search: {baseline: leave_one_out, subsets: 1}", "search: baseline leave_one_out compares the subsets of"),
        ("search: {caution: -1}", "search.caution: Input should be greater than or equal to 0"),
        ("search: {polish: -1}", "search.polish: Input should be greater than or equal to 0"),
        (
            "{search: {caution: 1}, table: {surrogate: ridge}}",
            "search.caution: surrogate ridge knows no standard deviation; set it to 0, or table.surrogate",
        ),
        (
            "proxy: {generators: {agent: 0.2}}",
            "proxy.generators.agent: a second round reads embeddings alone; set it to 0, or table.representation to",
        ),
        ("proxy: {backbone: frozen, start: scratch}", "proxy: backbone: frozen keeps what the detector's backbone has"),
        ("machine: {device: gpu}", "machine.device: Input should be 'auto', 'cpu' or 'cuda'"),
        ("dataset: {on_invalid: ignore}", "dataset.on_invalid: Input should be 'fail' or 'drop'"),
        ("experiment: My run", "experiment: String should match pattern"),
        ("experiment: ../elsewhere", "experiment: String should match pattern"),
        (f"experiment: {'x' * 300}", "experiment: String should have at most 100 characters"),
        # what YAML reads otherwise than it looks
        ("cycles: yes", "cycles: should be a number, and YAML reads yes, no, on, off, true and false as truth"),
        ("seeds: [0, on]", "seeds: should be a number"),
        ("training: {learning_rate: true}", "training.learning_rate: should be a number"),
        ("budget: {initial: All}", "parse string as an integer, or should be 'all' (given: 'All')"),
        ("budget: {batch: 050}", "'050' is read as the number 40 at line 1, column 17; write it in base 10"),
        ("image_size: 5:20", "'5:20' is read as the number 320"),
        ("strategies: !!set {random, entropy}", "not valid YAML at line 1"),  # in an order of its own in each process
        ("budget: {<<: {batch: 3}, <<: {batch: 4}}", "key '<<' occurs twice at line 1"),
        # values that do not go together
        ("{seeds: [0, 1003], noise: {repeats: 4}}", "seeds: 1003 is one that noise.repeats trains with"),
        ("seeds: [1, 1]", "mine.yaml: seeds: 1 is given twice; give each seed once"),
        ("strategies: [random, {name: random, plugin: entropy}]", "strategies: 'random' is given twice"),
        ("dataset: {splits: {val: 0.5, test: 0.5}}", "dataset.splits: val + test must stay below 1"),
        ("proxy: {generators: {random: 0, designed: 0}}", "the shares must not all be zero"),
        ("dataset: {format: voc}", "dataset.root: missing; give the folder of the data set"),
        (
            "detector: {name: retinanet}\nproxy: {kind: unlabelled, semi: isd}",
            "proxy.semi: isd is for detectors with softmax, not sigmoid; choose another detector or term",
        ),
        (
            "{detector: {name: mmdet, options: {config: retinanet}}, proxy: {kind: both}}",
            "proxy.semi: isd is for detectors with softmax, not sigmoid",
        ),
        (
            "{detector: {name: fcos}, proxy: {kind: unlabelled}}",
            "proxy.semi: isd needs a detector with priors, and fcos has none; set proxy.kind: replay or choose another",
        ),
        # files that are no parameters
        ("cycles: [1", "not valid YAML at line 1"),
        ("a: 1\n\tb: 2", "not valid YAML at line 2"),
        ("experiment: 2001-99-99", "not valid YAML"),  # the date
        (b"\xff\xfe\x00", "not a text file; give a YAML parameter file"),
        ("- random\n- entropy", "must hold keys and values; see params/base.yaml"),
        ("cycles", "must hold keys and values; see params/base.yaml"),
    ],
)
def test_a_bad_file_ends_in_one_line_with_place_and_remedy(tmp_path, text, says):
    assert says in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "table: {representation: moments}",
        "{search: {caution: 1}, table: {surrogate: nearest}}",
        "proxy: {records: 3, generators: {random: 1, designed: 0, agent: 1.5}}",
    ],
)
def test_what_does_not_go_together_is_refused_by_the_command(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    assert cli.main(["check", "--params", str(BASE), str(tmp_path / "mine.yaml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mgral: ") and ("; set" in line or "; raise" in line)


def test_what_needs_priors_is_refused_for_detectors_without_and_nothing_else_is(tmp_path: Path) -> None:
    modules = {name: plugins.load("detectors", name) for name in plugins.names("detectors")}
    detectors = [name for name, module in modules.items() if not getattr(module, "PRIORS", True)]
    detectors.remove("command")  # shows less than priors; see test_command.py
    assert {"fasterrcnn", "fcos"} <= set(detectors)
    needs = {
        name: getattr(plugins.load("strategies", name), "USES_PRIORS", False) for name in plugins.names("strategies")
    }
    assert {"meh_hua", "mi_aod", "pal", "ppal"} == {name for name, it_does in needs.items() if it_does}
    for detector in detectors:
        for strategy, it_does in needs.items():
            given = f"strategies: [{strategy}], proxy: {{kind: replay}}, embedding: {{weights: random}}"
            text = f"{{detector: {{name: {detector}}}, {given}}}"
            if it_does:
                said = refusal(tmp_path, text)
                assert f"strategies: {strategy} needs a detector with priors, and {detector} has none; leave it" in said
            else:
                path = tmp_path / "sound.yaml"
                path.write_text(text)
                loading.read([BASE, path])


@pytest.mark.parametrize(
    "text",
    [
        "detector: {name: retinanet}\nstrategies: [random, entropy]\nproxy: {kind: unlabelled}",  # no proxies
        "{detector: {name: mmdet, options: {config: retinanet, cfg_options: {a.b: 1}}}, proxy: {kind: unlabelled}}",
        "{detector: {name: mmdet, options: {config: my.py}}, proxy: {kind: unlabelled}}",  # only mmdet can tell
        "detector: {name: retinanet}",  # the proxies of replay have labels
    ],
)
def test_a_term_is_held_against_the_detector_where_it_is_used_and_known(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    assert loading.read([BASE, tmp_path / "mine.yaml"]).proxy.semi == "isd"


@pytest.mark.parametrize("given", ["none.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(given):
    with pytest.raises(MgralError, match=r"give an? (existing|YAML) parameter file"):
        loading.read([BASE, given])


def test_a_file_of_its_own_must_be_complete(tmp_path):
    (tmp_path / "alone.yaml").write_text("experiment: alone\n")
    with pytest.raises(
        MgralError, match=r"alone\.yaml: seeds: missing; set this key, or name params/base\.yaml before"
    ):
        loading.read([tmp_path / "alone.yaml"])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_of_this_repository_is_sound(path):
    checked = loading.read([BASE, path])
    assert checked.experiment == {"base": "demo"}.get(path.stem, path.stem)


def test_an_empty_file_changes_nothing(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    assert loading.read([BASE, tmp_path / "empty.yaml"]) == loading.read([BASE])


def test_groups_are_merged_and_lists_replaced():
    base = {"a": {"x": 1, "y": {"z": 2}}, "seeds": [0, 1], "b": 1}
    override: dict[str, Any] = {"a": {"y": {"w": 3}}, "seeds": [5]}
    assert loading.merge(base, override) == {"a": {"x": 1, "y": {"z": 2, "w": 3}}, "seeds": [5], "b": 1}


def test_a_strategy_is_a_name_or_a_label_with_options(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "strategies:\n"
        "  - random\n"
        "  - {name: entropy, options: {aggregate: max}}\n"
        "  - {name: mean, plugin: entropy, options: {aggregate: mean}}\n"
    )
    given = [(s.name, s.plugin, s.options) for s in loading.read([BASE, path]).strategies]
    assert given == [
        ("random", "random", {}),
        ("entropy", "entropy", {"aggregate": "max"}),
        ("mean", "entropy", {"aggregate": "mean"}),
    ]


class Step(Settings):
    """A step that reads one whole group and one key."""

    cycles: int
    budget: schema.Budget


BUDGET = {"initial": 60, "batch": 20}


def test_a_step_takes_its_sections_from_a_whole_experiment():
    whole = loading.read([BASE]).model_dump(mode="json")
    step = loading.sections(Step, whole, "f.yaml")
    assert step.model_dump() == {
        "cycles": 3,
        "budget": {**BUDGET, "initial_by": "random", "unit": "images", "amount": None},
    }
    assert step == loading.sections(Step, {"cycles": 3, "budget": BUDGET}, "f.yaml")


def test_a_step_refuses_a_key_that_belongs_to_nothing():
    with pytest.raises(MgralError, match=r"f\.yaml: cycle: unknown key; did you mean 'cycles'\?"):
        loading.sections(Step, {"cycle": 3, "budget": {"initial": 1, "batch": 1}}, "f.yaml")


def test_records_are_divided_among_kinds_and_rounds():
    # 12 records, a quarter by the agent: 3. With both kinds, a third replay: 4 of which 1 by the agent, and 8 with 2.
    given = {"random": 0.5, "class": 0.25, "agent": 0.25}
    base = {"records": 12, "replay_share": 0.33, "generators": given}
    alone = schema.Generators.parse({**base, "kind": "unlabelled"}, "proxy")
    assert [alone.rounds(kind) for kind in ("unlabelled", "replay")] == [(9, 3), (0, 0)]
    both = schema.Generators.parse({**base, "kind": "both"}, "proxy")
    assert [both.rounds(kind) for kind in ("unlabelled", "replay")] == [(6, 2), (3, 1)]
    assert schema.Generators.parse({**base, "kind": "replay"}, "proxy").rounds("replay") == (9, 3)


def test_the_own_detector_of_a_strategy_is_a_second_curve() -> None:
    given = ["random", "mi_aod", {"name": "theirs", "plugin": "mi_aod", "options": {"report": "own"}}]
    strategies = [schema.Strategy.model_validate(one) for one in given]
    assert [one.reports_own for one in strategies] == [False, False, True]
    assert [one.curves for one in strategies] == [["random"], ["mi_aod"], ["theirs", "theirs:own"]]
    assert schema.curve_names(strategies) == ["random", "mi_aod", "theirs", "theirs:own"]


def test_the_first_that_picks_at_random_is_the_reference() -> None:
    given = ["entropy", {"name": "chance", "plugin": "random"}, "random"]
    strategies = [schema.Strategy.model_validate(one) for one in given]
    assert schema.reference(strategies) == "chance"
    assert schema.reference(strategies[:1]) is None


def test_no_label_is_the_name_of_such_a_curve(tmp_path: Path) -> None:
    text = 'strategies: [{name: "mi_aod:own", plugin: random}]'
    assert "strategies[0].name: String should match pattern" in refusal(tmp_path, text)


MINE = "dataset: {format: folder, root: mine}\n"
ALL = "budget: {initial: all}\n"
ONE = "oracle: people\nseeds: [0]\nstrategies: [random]\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MINE + ALL + "oracle: people\nseeds: [0, 1]\nstrategies: [random]", "leave one of each"),
        (MINE + ALL + "oracle: people\nseeds: [0]\nstrategies: [random, mgral]", "leave one of each"),
        (MINE + "oracle: people\nseeds: [0]\nstrategies: [random]", "budget.initial: with oracle: people, set all"),
        (ALL + "oracle: people\nseeds: [0]\nstrategies: [random]", "a generated data set knows its labels"),
        (
            MINE + ALL + "oracle: people\nseeds: [0]\nstrategies: [oracle_rare]",
            "reads the labels that people are asked",
        ),
        ("oracle: simulated\nannotation: {tool: cvat, annotators: 2}", "the files of CVAT name nobody"),
        (MINE + ALL + ONE + "annotation: {tool: cvat, annotators: 2}", "the files of CVAT name nobody"),
        ("oracle: {kind: simulated, miss: 2}", "oracle.miss"),
        ("oracle: somebody", "oracle.kind"),
    ],
)
def test_what_people_cannot_answer_is_refused(text: str, says: str, tmp_path: Path) -> None:
    assert says in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        MINE + ALL + "oracle: people\nseeds: [0]\nstrategies: [entropy]",
        "oracle: {kind: simulated, miss: 0.1}",
        "oracle: simulated\nannotation: {annotators: 3}",
    ],
)
def test_people_answer_one_run_and_simulated_people_any(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    assert loading.read([BASE, tmp_path / "mine.yaml"]).oracle.kind in text
