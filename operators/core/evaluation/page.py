"""An evaluation as one page for people: no script, nothing from elsewhere, bytes that follow from the report alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from operators.core.evaluation.drawing import interval_svg, reliability_svg
from operators.core.evaluation.style import STYLE

WIDEST_CONFUSION = 20
"""Names beyond which the matrix gives way to a list of what is most often mistaken for what."""
MOST_CONFUSIONS = 20
SHADES = 8
PERCENT = "\u202f%"
Report = Mapping[str, Any]


def render(report: Report) -> bytes:
    """Return the page of a report, in UTF-8. Whatever stands in the report is shown as text."""
    parts = (_head, _classes, _confusion, _calibration, _slices, _perturbed, _outside, _mistakes)
    return document("".join(part(report) for part in parts))


def document(body: str) -> bytes:
    """Return a page with some sections, in UTF-8, that loads nothing and runs nothing."""
    allowed = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Evaluation</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    ).encode()


def _head(report: Report) -> str:
    measured = str(report["measure"]).replace("_", " ")
    low, high = report["score_range"]
    figures = [
        (measured, _share(report["score"]), _range(low, high)),
        ("macro F1", _share(report["macro_f1"]), "mean over the names"),
        ("baseline", _share(report["baseline_score"]), "probe on the frozen encoder"),
        ("calibration error", _share(report["calibration_error"]), "lower is better"),
    ]
    told = f"{report['rows']} test rows, weights as {report['model_format']}. "
    told += "Ranges hold the true value in 95 of 100 samples of this size."
    return tiles("Evaluation", told, figures)


def tiles(title: str, told: str, figures: Sequence[tuple[str, str, str]]) -> str:
    """Return the head of a page: what it is, a line on it, and figures with their names and notes."""
    made = "".join(
        f"<div><b>{_text(value)}</b><span>{_text(name)}</span><i>{_text(note)}</i></div>"
        for name, value, note in figures
    )
    return f"<h1>{_text(title)}</h1><p>{_text(told)}</p><section class=tiles>{made}</section>"


def _classes(report: Report) -> str:
    rows = [
        [one["label"], one["rows"], _share(one["precision"]), _share(one["recall"]), _share(one["f1"])]
        for one in report["by_class"]
    ]
    what = "spans, exact" if report["measure"] == "span_f1" else "rows"
    return section("By label", table(["label", what, "precision", "recall", "F1"], rows))


def _confusion(report: Report) -> str:
    axis, matrix = report["axis"], report["confusion"]
    if len(axis) > WIDEST_CONFUSION:
        return section("Most often mistaken", table(["true", "predicted", "times"], _most_confused(axis, matrix)))
    heads = "".join(f"<th scope=col>{_text(name)}</th>" for name in axis)
    lines = "".join(
        f"<tr><th scope=row>{_text(name)}</th>{''.join(_cell(count, sum(row)) for count in row)}</tr>"
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
    rows = [[_share(one["score"]), one["rows"], _share(one["right"])] for one in bins]
    figures = table(["mean score", "rows", "right"], rows)
    return section("Calibration", f"<p>{told}</p><div class=beside>{reliability_svg(bins)}{figures}</div>")


def _slices(report: Report) -> str:
    rows = "".join(
        f"<tr><td class=name>{_text(one['by'])}</td><td class=name>{_text(one['name'])}</td>"
        f"<td>{'<small>few</small> ' if one['is_small'] else ''}{one['rows']}</td><td>{_share(one['score'])}</td>"
        f"<td>{_range(one['low'], one['high'])}</td><td>{interval_svg(one['score'], one['low'], one['high'])}</td></tr>"
        for one in report["slices"]
    )
    heads = "<th class=name>by</th><th class=name>part</th><th>rows</th><th>score</th><th>range</th><th>0 to 1</th>"
    return section("Parts of the rows", f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>")


def _perturbed(report: Report) -> str:
    rows = [
        [one["name"], one["rows"], _share(one["same"]), _range(one["low"], one["high"])]
        + [_share(one[name]) if one[name] is not None else "" for name in ("score_before", "score")]
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
    told += f"{found['auroc']:.3f}. Of these texts {_share(found['passed'])} ({_range(found['low'], found['high'])}) "
    told += f"have the score that 95 of 100 test rows reach, {found['threshold']:.3f}."
    return section("Texts from outside", f"<p>{_text(told)}</p>")


def _mistakes(report: Report) -> str:
    rows = [[one["id"], one["label"], one["predicted"], _share(one["score"])] for one in report["surest_mistakes"]]
    told = "<p>Wrong with the highest scores. Where a true label is wrong, it is often found here.</p>"
    return section("Surest mistakes", told + table(["row", "true", "predicted", "score"], rows)) if rows else ""


def section(title: str, content: str) -> str:
    """Return a section under a heading."""
    return f"<section><h2>{title}</h2>{content}</section>"


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; its first row says which columns are numbers."""
    shapes = [_shape(value) for value in rows[0]] if rows else [""] * len(heads)
    top = "".join(f"<th scope=col{shape}>{_text(head)}</th>" for head, shape in zip(heads, shapes, strict=True))
    lines = "".join(f"<tr>{''.join(f'<td{_shape(value)}>{_text(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def _shape(value: object) -> str:
    """Return the attribute of a cell: names begin on the left, numbers and shares end on the right."""
    is_number = isinstance(value, int) or (isinstance(value, str) and value.endswith(PERCENT))
    return "" if is_number else " class=name"


def _share(value: float) -> str:
    return f"{100 * value:.1f}{PERCENT}"


def _range(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {_share(high)}"


def _text(value: object) -> str:
    return escape(str(value))
