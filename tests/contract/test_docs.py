"""README and docs say what is true of the code: lists, links, examples and commands."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from mgral import cli
from mgral.cli import _examples, _lists
from mgral.core import plugins

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted(path for path in (ROOT / "docs").rglob("*.md") if not path.is_symlink())
SITE = sorted((ROOT / "docs").rglob("*.md"))
QUOTED = "All strategies on [BCCD](../results/bccd_strategies.md), five seeds, two selections, over the curve: "
QUOTING = [path for path in PAGES if QUOTED in path.read_text(encoding="utf-8")]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
GENERATED = re.compile(r"<!-- list: .*?<!-- end -->", re.DOTALL)
TOOLS = ("mgral", "snakemake", "make", "dvc", "pytest", "python")
OTHERS = {".", "git", "pre-commit", "cd", "export", "label-studio"}  # in console blocks; other people's programs
PLACEHOLDER = re.compile(r"[…<>]")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
each_verb = pytest.mark.parametrize("verb", list(cli.VERBS))


def words(command: str) -> list[str]:
    """The words of a command, without its comment, and of a pipe the first program."""
    return shlex.split(command.partition(" #")[0].partition(" | ")[0])


def commands(page: Path) -> Iterator[str]:
    """Every command of a page that one of our tools runs: in console blocks, and inline."""
    text = page.read_text(encoding="utf-8")
    for language, block in FENCE.findall(text):
        if language == "console":
            lines = block.replace("\\\n", " ").splitlines()
            yield from (line for line in lines if line.strip() and not line.startswith("# "))
    for inline in re.findall(r"`([^`]+)`", FENCE.sub("", text)):
        command = " ".join(inline.split())
        if command.startswith(tuple(f"{tool} " for tool in TOOLS)):
            yield command


@pytest.mark.parametrize("page", [p for p in PAGES if "<!-- list:" in p.read_text()], ids=lambda path: path.stem)
def test_lists_are_those_of_the_code(page: Path) -> None:
    assert page.read_text() == _lists.updated(page), "run `make docs-lists`"


def test_every_kind_of_plug_in_is_listed() -> None:
    text = (ROOT / "docs/reference/plugins.md").read_text()
    for kind in plugins.PACKAGES:
        assert f"<!-- list: {kind} -->" in text and f"<!-- list: options {kind} -->" in text


@pytest.mark.parametrize("name", plugins.names("strategies"))
def test_the_page_of_a_strategy_names_its_options(name: str) -> None:
    text = (ROOT / "docs/strategies" / f"{name}.md").read_text()
    for option in plugins.load("strategies", name).Options.model_fields:
        assert f"`{option}" in text, f"docs/strategies/{name}.md does not name the option {option}"


@each_verb
def test_a_verb_has_two_examples_that_parse(verb: str) -> None:
    examples = _examples.of(verb)
    assert len(examples) == len(set(examples)) == 2
    for example in examples:
        program, named, *rest = shlex.split(_examples.wrapped(example, "  ").replace("\\\n", " "))
        assert (program, named) == ("mgral", verb)
        assert [program, named, *rest] == shlex.split(example)
        cli.parser_of(verb).parse_args(rest)
        assert all((ROOT / word).is_file() for word in rest if word.startswith("params/"))


def test_there_are_examples_of_verbs_only() -> None:
    assert set(_examples._EXAMPLES) == set(cli.VERBS)


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """To a file, and to a heading in it; from a page of the site to the site, whose pages are those of docs/."""
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if re.match(r"https?:|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name) if name else page
        assert linked.is_file(), f"{page}: {target}"
        if page.is_relative_to(ROOT / "docs"):
            assert linked.resolve().is_relative_to(ROOT / "docs") or linked.is_symlink(), f"{page}: {target}"
        if anchor:
            assert anchor in headings(linked), f"{page}: {target}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_files_that_are_named_are_there(page: Path) -> None:
    """But for those that a reader of docs/extending.md makes from an example."""
    folders = r"src|tests|docs|params|examples|workflow|profiles|requirements|\.ci"
    for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", FENCE.sub("", page.read_text())):
        assert (ROOT / name).exists() or list(ROOT.glob(f"examples/plugins/*/{Path(name).stem}.py")), f"{page}: {name}"


def headings(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"`", "", title)).strip().lower().replace(" ", "-") for title in found}


def test_every_page_is_in_the_navigation() -> None:
    def entries(node: object) -> Iterator[str]:
        if isinstance(node, str):
            yield node
        for inner in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
            yield from entries(inner)

    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(entries(navigation)) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in SITE)


@each_page
def test_a_block_of_commands_says_what_runs_it(page: Path) -> None:
    """``<!-- run by FILE -->`` or ``<!-- not run: REASON -->`` stands before it; lists from the code have own tests."""
    text = GENERATED.sub("", page.read_text())
    for found in FENCE.finditer(text):
        if found[1] != "console":
            continue
        before = text[: found.start()].rstrip().rpartition("\n")[2].strip()
        says = re.fullmatch(r"<!-- (?:run by (\S+)|not run: .+) -->", before)
        assert says, f"{page}: before `{found[2].splitlines()[0]}`: say what runs it"
        assert says[1] is None or (ROOT / says[1]).is_file(), f"{page}: {says[1]}"


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem != "CHANGELOG"], ids=lambda path: path.stem)
def test_commands_are_those_of_the_tools(page: Path) -> None:
    for command in commands(page):
        program, *rest = words(command)
        if program == "mgral":
            check_mgral(rest, command)
        elif program == "snakemake":
            check_snakemake(rest, command)
        elif program == "make":
            named = [word for word in rest if "=" not in word]
            assert set(named) <= make_targets(), command
        elif program == "dvc":
            check_dvc(rest, command)
        elif program in ("pytest", "python"):
            files = [word for word in rest if word.endswith(".py") or word.startswith("tests/")]
            assert all((ROOT / file).exists() or file.startswith("trainer") for file in files), command
        else:
            assert program in OTHERS, command


@pytest.mark.parametrize("page", QUOTING, ids=lambda path: path.stem)
def test_a_page_quotes_the_table_of_all_strategies_on_bccd(page: Path) -> None:
    """The difference from random, its interval and its p are those of docs/results/bccd_strategies.md."""
    table = (ROOT / "docs/results/bccd_strategies.md").read_text(encoding="utf-8")
    line = next(line for line in table.splitlines() if line.startswith(f"| `{page.stem}` |"))
    gain, p = [cell.strip() for cell in line.split("|")][4:6]
    said = "p < 0.001" if float(p) < 0.001 else f"p = {p}"
    text = " ".join(page.read_text(encoding="utf-8").partition(QUOTED)[2].split())
    assert text.startswith(f"{gain} over random ({said} after Holm)")


def test_the_readme_is_short_and_its_steps_are_those_of_the_docs() -> None:
    """Its five steps are the commands of docs/own-images.md, which a test of the workflow runs."""
    readme = ROOT / "README.md"
    assert len(readme.read_text().split()) <= 700
    steps = [words(c) for c in commands(readme) if "params/own.yaml" in c]
    assert len(steps) == 6
    documented = [words(c) for c in commands(ROOT / "docs/own-images.md")]
    assert all(step in documented for step in steps)


def check_mgral(rest: list[str], command: str) -> None:
    if not rest or rest[0] in ("…", "VERB") or rest[0].startswith(("-", "<")):
        return
    assert rest[0] in cli.VERBS, command
    options = {name for action in cli.parser_of(rest[0])._actions for name in action.option_strings}
    assert {word for word in rest if word.startswith("--")} <= options, command
    check_files(rest, command)


def check_snakemake(rest: list[str], command: str) -> None:
    given = rest[: rest.index("--")] if "--" in rest else rest
    assert {word for word in given if word.startswith("--")} <= snakemake_options(), command
    check_files(rest, command)
    for target in rest[len(given) + 1 :]:
        assert target in rules() or target == "dvc.yaml" or target.startswith("data/runs/"), command


def check_dvc(rest: list[str], command: str) -> None:
    from dvc.cli.parser import get_main_parser

    if PLACEHOLDER.search(command):
        return
    with contextlib.suppress(SystemExit):  # of --help; a subcommand alone may lack its arguments
        get_main_parser().parse_args(rest if any(word.startswith("-") for word in rest) else [*rest, "--help"])


def check_files(rest: list[str], command: str) -> None:
    for word in rest:
        if word.startswith(("params/", "profiles/", "examples/")) and not PLACEHOLDER.search(word):
            assert (ROOT / word).exists(), command


@cache
def make_targets() -> set[str]:
    texts = [path.read_text() for path in [ROOT / "Makefile", *ROOT.glob("*.mk")]]
    return {name for text in texts for name in re.findall(r"^([a-z][a-z-]*):(?!=)", text, re.MULTILINE)}


@cache
def snakemake_options() -> set[str]:
    from snakemake.cli import get_argument_parser

    parser = get_argument_parser()
    return {name for action in parser._actions for name in action.option_strings}


@cache
def rules() -> set[str]:
    texts = [path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]]
    return {name for text in texts for name in re.findall(r"^\s*(?:use )?rule (?:\w+ as )?(\w+)", text, re.MULTILINE)}
