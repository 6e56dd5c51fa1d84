"""HTML as the text a reader of the mail would see."""

from __future__ import annotations

import re
from html.parser import HTMLParser

MAX_HTML_CHARACTERS = 1_000_000
"""More is cut: the parser's time must stay bounded, and no model reads that far."""
UNSEEN = frozenset({"script", "style", "head", "title", "template"})
BREAKS = frozenset(
    {"address", "blockquote", "br", "center", "dd", "div", "dl", "dt", "form", "h1", "h2", "h3", "h4", "h5", "h6", "hr"}
    | {"li", "ol", "option", "p", "pre", "table", "td", "th", "tr", "ul"}
)


def html_to_text(html: str) -> str:
    """Return the visible text of a document, blocks and table cells on lines of their own.

    Inline tags vanish without a gap, so that an address split by tags is whole again before it is looked for.
    """
    # A declaration that is never closed makes the parser of Python 3.11 scan to the end again and again, or give up.
    html = re.sub(r"<[!?][^<>]{0,2000}>?", "", html[:MAX_HTML_CHARACTERS])
    # So does a tag without an end: it is text.
    html = re.sub(r"<(?![/a-zA-Z][^<>]*>)", "&lt;", html)
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return "".join(reader.pieces)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._unseen: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._unseen is None and tag in UNSEEN:
            self._unseen = tag
        elif tag == "body":
            # Spam forgets to close its head; a browser shows the body all the same.
            self._unseen = None
        if tag in BREAKS:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._unseen:
            self._unseen = None
        if tag in BREAKS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if self._unseen is None:
            self.pieces.append(data)
