"""An evaluation as one page for people: no script, nothing from elsewhere, bytes that follow from the report alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from operators.core.evaluation.drawing import interval_svg, reliability_svg
from operators.core.pages.document import document, section, share, table, text, tiles

WIDEST_CONFUSION = 20
"""Names beyond which the matrix gives way to a list of what is most often mistaken for what."""
MOST_CONFUSIONS = 20
SHADES = 8
Report = Mapping[str, Any]


def render(report: Report) -> bytes:
    """Return the page of a report, in UTF-8. Whatever stands in the report is shown as text."""
    parts = (_head, _classes, _confusion, _calibration, _slices, _perturbed, _outside, _mistakes)
    return document("Evaluation", "".join(part(report) for part in parts))


def _head(report: Report) -> str:
    measured = str(report["measure"]).replace("_", " ")
    low, high = report["score_range"]
    figures = [
        (measured, share(report["score"]), _range(low, high)),
        ("macro F1", share(report["macro_f1"]), "mean over the names"),
        ("baseline", share(report["baseline_score"]), "probe on the frozen encoder"),
        ("calibration error", share(report["calibration_error"]), "lower is better"),
    ]
    told = f"{report['rows']} test rows, weights as {report['model_format']}. "
    told += "Ranges hold the true value in 95 of 100 samples of this size."
    return tiles("Evaluation", told, figures)


def _classes(report: Report) -> str:
    rows = [
        [one["label"], one["rows"], share(one["precision"]), share(one["recall"]), share(one["f1"])]
        for one in report["by_class"]
    ]
    what = "spans, exact" if report["measure"] == "span_f1" else "rows"
    return section("By label", table(["label", what, "precision", "recall", "F1"], rows))


def _confusion(report: Report) -> str:
    axis, matrix = report["axis"], report["confusion"]
    if len(axis) > WIDEST_CONFUSION:
        return section("Most often mistaken", table(["true", "predicted", "times"], _most_confused(axis, matrix)))
    heads = "".join(f"<th scope=col>{text(name)}</th>" for name in axis)
    lines = "".join(
        f"<tr><th scope=row>{text(name)}</th>{''.join(_cell(count, sum(row)) for count in row)}</tr>"
        for name, row in zip(axis, matrix, strict=True)
    )
    top = f"<thead><tr><th>true \\ predicted</th>{heads}</tr></thead>"
    return section("Confusion", f"<table class=matrix>{top}<tbody>{lines}</tbody></table>")


def _most_confused(axis: Sequence[str], matrix: Sequence[Sequence[int]]) -> list[list[object]]:
    pairs = sorted(
        (-count, true, predicted)
        for true, row in zip(axis, matrix, strict=True)
        for predicted, count in zip(axis, row, strict=True)
        if count and true != predicted
    )
    return [[true, predicted, -count] for count, true, predicted in pairs[:MOST_CONFUSIONS]]


def _cell(count: int, total: int) -> str:
    return f'<td class="s{round(SHADES * count / total) if total else 0}">{count}</td>'


def _calibration(report: Report) -> str:
    bins = report["calibration"]
    told = "Answers by their score: on the line, right as often as the score says; below it, too sure of themselves."
    rows = [[share(one["score"]), one["rows"], share(one["right"])] for one in bins]
    figures = table(["mean score", "rows", "right"], rows)
    return section("Calibration", f"<p>{told}</p><div class=beside>{reliability_svg(bins)}{figures}</div>")


def _slices(report: Report) -> str:
    rows = "".join(
        f"<tr><td class=name>{text(one['by'])}</td><td class=name>{text(one['name'])}</td>"
        f"<td>{'<small>few</small> ' if one['is_small'] else ''}{one['rows']}</td><td>{share(one['score'])}</td>"
        f"<td>{_range(one['low'], one['high'])}</td><td>{interval_svg(one['score'], one['low'], one['high'])}</td></tr>"
        for one in report["slices"]
    )
    heads = "<th class=name>by</th><th class=name>part</th><th>rows</th><th>score</th><th>range</th><th>0 to 1</th>"
    return section("Parts of the rows", f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>")


def _perturbed(report: Report) -> str:
    rows = [
        [one["name"], one["rows"], share(one["same"]), _range(one["low"], one["high"])]
        + [share(one[name]) if one[name] is not None else "" for name in ("score_before", "score")]
        for one in report["perturbed"]
    ]
    told = "<p>A sample of the rows, changed in one way each: the share of answers that stay, and the score.</p>"
    heads = ["changed to", "rows", "same answer", "range", "score before", "score after"]
    return section("Careless writing", told + table(heads, rows)) if rows else ""


def _outside(report: Report) -> str:
    found = report["outside"]
    if found is None:
        return ""
    told = f"{found['texts']} texts that belong to no label. How likely a test row has the higher score (AUROC): "
    told += f"{found['auroc']:.3f}. Of these texts {share(found['passed'])} ({_range(found['low'], found['high'])}) "
    told += f"have the score that 95 of 100 test rows reach, {found['threshold']:.3f}."
    return section("Texts from outside", f"<p>{text(told)}</p>")


def _mistakes(report: Report) -> str:
    rows = [[one["id"], one["label"], one["predicted"], share(one["score"])] for one in report["surest_mistakes"]]
    told = "<p>Wrong with the highest scores. Where a true label is wrong, it is often found here.</p>"
    return section("Surest mistakes", told + table(["row", "true", "predicted", "score"], rows)) if rows else ""


def _range(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {share(high)}"
