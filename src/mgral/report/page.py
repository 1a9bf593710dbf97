"""The page: reads the run, draws the figures and fills ``page.html``."""

from __future__ import annotations

from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from mgral.curves import strategy_of
from mgral.files import whole
from mgral.params import Params
from mgral.report import parts, tables


def build(run: Path, params: Params, out: Path, figures: Path) -> None:
    """Write the report of a finished run: one HTML file that needs nothing else, and its figures as PNG.

    Args:
        run: folder of the run, with comparison.json, dataset/dataset.json and <strategy>/seed-<s>/cycle-<c>/.
        params: the experiment.
        out: the HTML file.
        figures: folder of the PNG files.

    Raises:
        MgralError: the comparison, the data set, a metrics file or a selection is missing or damaged.
    """
    data = parts.read(run, params)
    plates = parts.Plates(figures)
    environment = Environment(
        loader=PackageLoader("mgral", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("page.html").render(
        params=params,
        controls=data.controls,
        looks=data.looks | {own.strategy: data.looks[strategy_of(own.strategy)] for own in data.compared.own},
        **parts.outcome(data, plates),
        **parts.contest(data, plates),
        **parts.picks(data, plates),
        searchers=parts.searchers(data, plates),
        **parts.costs(data, plates),
        dataset_table=tables.contents(data.dataset),
        **parts.left_out(run),
        settings=yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )
    with whole(out) as temporary:
        temporary.write_text(html, encoding="utf-8")
