"""The report: reads the run, draws the figures and fills ``page.html``, a function a section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from mgral.config.schema import Params
from mgral.core.errors import MgralError
from mgral.core.files import read_json, whole
from mgral.core.run_layout import CYCLE, RUN
from mgral.data import dataset_json, importing
from mgral.report import (
    figure_names,
    figures_data,
    gallery,
    headline,
    insight,
    jobs,
    learning_curves,
    people,
    prices,
    published,
    replay_gains,
    sources,
    table_verdict,
    tables,
    text,
)
from mgral.report import figures as draw
from mgral.report import figures_method as draw_method
from mgral.report.context import Plate, Plates, Run, Stamp, read
from mgral.report.learning_curves import strategy_of
from mgral.report.sources import Cell


def build(run: Path, params: Params, out: Path, figures: Path, stamp: Stamp | None = None) -> None:
    """Write the report of a finished run: one HTML file that needs nothing else, and its figures as PNG.

    Args:
        run: folder of the run, with comparison.json, dataset/dataset.json and <strategy>/seed-<s>/cycle-<c>/.
        params: the experiment.
        out: the HTML file.
        figures: folder of the PNG files.
        stamp: version, commit, date and command for the top of the page.

    Raises:
        MgralError: the comparison, the data set, a metrics file or a selection is missing or damaged.
    """
    data = read(run, params)
    plates = Plates(figures)
    environment = Environment(
        loader=PackageLoader("mgral", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("page.html").render(
        params=params,
        stamp=(stamp or Stamp()).facts,
        controls=data.controls,
        looks=data.looks | {own.strategy: data.looks[strategy_of(own.strategy)] for own in data.compared.own},
        **outcome(data, plates),
        **contest(data, plates),
        **picks(data, plates),
        searchers=searchers(data, plates),
        people=people.section(data, plates),
        **insight.next_batches(data),
        training=insight.training(data, plates),
        box_sizes=insight.box_sizes(data, plates),
        embeddings=insight.embedding_maps(data, plates),
        **costs(data, plates),
        dataset_table=tables.contents(data.dataset),
        **left_out(run),
        settings=yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )
    with whole(out) as temporary:
        temporary.write_text(html, encoding="utf-8")


def outcome(run: Run, plates: Plates) -> dict[str, Any]:
    """Headline, curves, results and per-class AP."""
    totals = learning_curves.summary(learning_curves.scores(run.frame, run.reference))
    plain = {name: totals[name] for name in run.strategies}
    images = int(run.frame["images"].max())
    first, remark = (
        headline.headline(plain, run.compared, images, run.rules) if run.chose else headline.one_cycle(plain)
    )
    behind = published.read(run.params.report.protocol)
    shown = [("images", "mAP", "curve"), ("boxes", "mAP", "curve_boxes")]
    shown += [("images", "AP50", "curve_ap50"), ("boxes", "AP50", "curve_ap50_boxes")]
    plots = [
        plates.add(
            name,
            draw.curve(run.frame, run.compared.curves, run.looks, x, y, behind, run.compared.own),
            f"{y} on the test split against labelled {x}.",
        )
        for x, y, name in shown
    ]
    apart = []
    if len(run.looks) > draw.FEW:
        apart = [
            plates.add(
                f"{name}_apart",
                draw.curves_apart(run.frame, run.compared.curves, run.looks, x, y, run.compared.own),
                f"Each strategy by itself, against labelled {x}. Dashed: {run.reference}. Grey: the others.",
            )
            for x, y, name in shown[:2]
        ]
    return {
        "headline": first,
        "remark": remark,
        "curves": plots,
        "apart": apart,
        "band": text.band(len(run.params.seeds)),
        "published": behind.caption if behind else None,
        "results": tables.results(totals),
        "no_contenders": text.controls(run.controls),
        "own": text.own([curve.strategy for curve in run.compared.own]),
        "per_class": _per_class(run, plates),
    }


def contest(run: Run, plates: Plates) -> dict[str, Any]:
    """Verdicts, and the differences to random and to the best baseline; empty without a reference."""
    noise = run.folder / RUN.noise
    seeds, compared = run.params.seeds, run.compared
    groups = learning_curves.alike(run.frame[run.frame["strategy"].isin(run.strategies)]) if run.chose else []
    measures = [
        ("Area by images", "auc_images", "mean mAP at equal images"),
        ("Area by boxes", "auc_boxes", "mean mAP at equal boxes"),
        ("Final mAP", "mAP", "mAP at the last cycle"),
    ]
    rivals = []
    for name in dict.fromkeys([compared.reference, compared.baseline] if run.chose else []):
        found = [(title, key, what, compared.against(name, key)) for title, key, what in measures]
        count = len(found[0][-1])
        if name is None or not count:
            continue
        plots = []
        for title, key, what, shown in found:
            if any(one.mean is not None for one in shown):
                figure = draw.differences(
                    shown, run.looks, f"{what} − {name}'s", compared.floor if key == "mAP" else None
                )
                plots.append(plates.add(f"difference_{name}_{key}", figure, f"{title}: difference to {name}."))
        rivals.append(
            {
                "name": name,
                "verdicts": [
                    (images.strategy, headline.verdict(images, count), headline.verdict(boxes, count))
                    for images, boxes in zip(found[0][-1], found[1][-1], strict=True)
                ],
                "plots": plots,
                "tables": [(title, tables.gains(shown, seeds)) for title, _, _, shown in found],
            }
        )
    return {
        "reference": compared.reference,
        "baseline": compared.baseline,
        "rivals": rivals,
        "intervals": text.criterion(len(seeds), noise.exists()) if run.chose else headline.NOTHING_CHOSEN,
        "gaps": [*text.gaps(compared), *text.same(groups)],
        "chance": text.chance(learning_curves.read_noise(noise), len(seeds)) if noise.exists() else None,
    }


def _per_class(run: Run, plates: Plates) -> tuple[Plate, tables.Table]:
    last = run.params.cycles - 1
    values: dict[str, list[list[float | None]]] = {}
    for name in run.strategies:
        seeds = []
        for seed in run.params.seeds:
            path = learning_curves.cycle_folder(run.folder, name, seed, last) / CYCLE.metrics
            found = learning_curves.read_metrics(path)["test"].get("per_class")
            if not isinstance(found, dict) or set(found) != set(run.classes):
                raise MgralError(
                    f"{path}: test.per_class must name the classes of the data set; run `mgral train` again"
                )
            seeds.append([found[label] for label in run.classes])
        values[name] = [list(column) for column in zip(*seeds, strict=True)]
    shown, which, key = _classes_drawn(run)
    figure = draw.per_class({name: by[: len(shown)] for name, by in values.items()}, shown, run.looks)
    caption = f"AP of each class at the last cycle; the class with most boxes first.{which}{key}"
    return plates.add("per_class", figure, caption), tables.per_class(values, run.classes)


def _classes_drawn(run: Run) -> tuple[list[str], str, str]:
    """The classes that a figure has room for, as it names them; which they are, and what names stand for, in words."""
    names, most = run.classes, draw.rows_that_fit(run.looks)
    which = f" The {most} of {len(names)} classes with most boxes." if len(names) > most else ""
    shown, key = figure_names.drawn(names[:most], "class")
    return shown, which, key


def picks(run: Run, plates: Plates) -> dict[str, Any]:
    """Class balance and gallery; both empty for a run without a selection (a single cycle)."""
    selections = sources.selections(*run.cells)
    first = [cell for cell in selections if cell.seed == run.params.seeds[0]]
    colours = gallery.class_colours(len(run.dataset.classes))
    shown = gallery.rows(first, run.dataset, sources.detections(run.folder, first))
    found: dict[str, Any] = {
        "gallery": shown,
        "ordered_gallery": sorted(shown.items(), key=lambda item: item[0] in run.controls),  # controls last, and closed
        "opened": next((name for name in reversed(shown) if name not in run.controls), None),
        "terms": {name: gallery.terms(rows, run.rules[name].reasons) for name, rows in shown.items()},
        "class_colours": [(run.dataset.classes[k], colours[k]) for k in run.order],
        "balance": None,
        "balance_table": None,
    }
    if not selections or not sum(run.pool):
        return found
    counts = {name: [_picked(run, selections, name, seed) for seed in run.params.seeds] for name in run.strategies}
    pool = [run.pool[k] for k in run.order]
    by_class = {
        name: [list(column) for column in zip(*(ratios(seed, pool) for seed in seeds), strict=True)]
        for name, seeds in counts.items()
    }
    caption = "How much more often each class occurs in the picked images than in the pool (1: as often)."
    names, which, key = _classes_drawn(run)
    figure = draw.class_balance({name: by[: len(names)] for name, by in by_class.items()}, names, run.looks)
    found["balance"] = plates.add("class_balance", figure, caption + which + key)
    found["balance_table"] = tables.balance(counts, pool, run.classes)
    return found


def _picked(run: Run, selections: Sequence[Cell], strategy: str, seed: int) -> list[int]:
    own = [cell for cell in selections if (cell.strategy, cell.seed) == (strategy, seed)]
    counts = sources.box_counts(run.dataset, [pick.id for cell in own for pick in cell.value])
    return [counts[k] for k in run.order]


def ratios(picked: Sequence[int], pool: Sequence[int]) -> list[float]:
    """Share among picked boxes over share in the pool, by class; NaN where a share is undefined."""
    share = sum(picked) / sum(pool)
    return [float("nan") if not (b and share) else a / b / share for a, b in zip(picked, pool, strict=True)]


def searchers(run: Run, plates: Plates) -> list[dict[str, Any]]:
    """For each strategy with a lookup table or a search: verdict, figures and tables."""
    audits, searches = sources.audits(*run.cells), sources.searches(*run.cells)
    priced = prices.read(*run.cells)
    found = []
    for name, look in run.looks.items():
        own_audits = [cell for cell in audits if cell.strategy == name]
        own_searches = [cell for cell in searches if cell.strategy == name]
        part: dict[str, Any] = {"strategy": name, "table": None, "replay_gains": None, "search": None}
        part["predicted"] = None
        own_prices = [cell for cell in priced if cell.strategy == name]
        part["prices"] = (prices.choices(own_prices), prices.table(own_prices)) if own_prices else None
        if own_audits:
            caption = "Held-out records, ρ: rank correlation. Solid: exact. Dashed: predicting the mean."
            plate = plates.add(f"table_{name}", draw_method.table_error(own_audits, look), caption)
            verdict, detail = table_verdict.signal([cell.value for cell in own_audits])
            values = [cell.value for cell in own_audits]
            more = [*prices.signals(values), *table_verdict.noise_of_records(values)]
            content = replay_gains.table(values)
            part["replay_gains"] = (content, replay_gains.differences(values)) if content else None
            compared = tables.comparison(own_audits)
            part["table"] = (verdict, [detail, *more], plate, tables.audits(own_audits), compared)
        if own_searches:
            caption = (
                "Dots: mean predicted gain of an iteration's batches over random ones (or a proxy's own). "
                "Lines: moving average, one a seed."
            )
            if own_audits:
                caption += " Dashed: the largest gain of a trained record, one a seed."
            plate = plates.add(f"search_{name}", draw_method.search(own_searches, own_audits, look), caption)
            sums = [cell.value[["far", "estimated"]].sum() for cell in own_searches]
            far = table_verdict.extrapolated([(one["far"], one["estimated"]) for one in sums])
            part["search"] = (plate, far, tables.searches(own_searches))
            part["predicted"] = insight.predicted(run, plates, name, own_searches)
        if own_audits or own_searches:
            found.append(part)
    return found


def costs(run: Run, plates: Plates) -> dict[str, Any]:
    """What the jobs took: figure and table of the times."""
    seconds = jobs.seconds_by_step(run.folder)
    if not seconds:
        return {"timings": None, "timings_table": None}
    plate = plates.add("timings", figures_data.timings(seconds), "Wall time of each step.")
    return {"timings": plate, "timings_table": tables.timings(seconds)}


def left_out(run: Path) -> dict[str, Any]:
    """What the import dropped, one line an item, and how much it clipped or never saw."""
    info = read_json(run / RUN.dataset)["info"]
    notes = [(info.get("clipped") or 0, "moved by at most one pixel into the image", "box", "boxes")]
    notes.append((len(info.get("unlisted") or []), "in the folder but in no list", "image", "images"))
    summary = importing.summary(dataset_json.read(run / RUN.dataset), info)
    return {
        "imported": summary[0],
        "dropped": [_line(item) for item in info.get("dropped") or []],
        "notes": [
            *(f"{count} {one if count == 1 else many} {what}" for count, what, one, many in notes if count),
            *(line.removeprefix("note: ") for line in summary[1:]),
        ],
    }


def _line(item: Mapping[str, str]) -> str:
    """``file, id: what``."""
    return f"{', '.join(item[key] for key in ('file', 'id') if item.get(key))}: {item.get('what', '')}"
