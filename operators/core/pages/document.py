"""The parts that pages share. Bytes follow from what is shown alone, and whatever is shown is shown as text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape

from operators.core.pages.style import STYLE

PERCENT = "\u202f%"


def document(title: str, body: str) -> bytes:
    """Return a page, in UTF-8, whose policy lets nothing in but its own style."""
    allowed = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    ).encode()


def tiles(title: str, told: str, figures: Sequence[tuple[str, str, str]]) -> str:
    """Return the head of a page: what it is, a line on it, and figures with their names and notes."""
    made = "".join(
        f"<div><b>{text(value)}</b><span>{text(name)}</span><i>{text(note)}</i></div>" for name, value, note in figures
    )
    return f"<h1>{text(title)}</h1><p>{text(told)}</p><section class=tiles>{made}</section>"


def section(title: str, content: str) -> str:
    """Return a part of a page below its title."""
    return f"<section><h2>{title}</h2>{content}</section>"


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows below their heads; names begin on the left, numbers and shares end on the right."""
    shapes = [_shape(value) for value in rows[0]] if rows else [""] * len(heads)
    top = "".join(f"<th scope=col{shape}>{text(head)}</th>" for head, shape in zip(heads, shapes, strict=True))
    lines = "".join(f"<tr>{''.join(f'<td{_shape(value)}>{text(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def _shape(value: object) -> str:
    is_number = isinstance(value, int | float) or (isinstance(value, str) and value.endswith(PERCENT))
    return "" if is_number else " class=name"


def share(value: float) -> str:
    """Return a part of 1 in percent."""
    return f"{100 * value:.1f}{PERCENT}"


def text(value: object) -> str:
    """Return what shows a value as it is."""
    return escape(str(value))
