"""Mail is decoded as its reader would see it."""

from __future__ import annotations

import base64
import contextlib
import time

import pytest

from operators.core.sources.contents import normalise, read_content
from operators.core.sources.html import MAX_HTML_CHARACTERS, html_to_text
from operators.core.sources.mail import Undecodable, read_mail
from tests.core.mails import SOURCE, mail


def test_encoded_words_are_decoded_in_subject_and_names() -> None:
    """RFC 2047 words become text, in the subject and in names."""
    found = read_mail(
        headers="From: =?iso-8859-1?q?Colm_MacC=E1rthaigh?= <colm@stdlib.net>\nSubject: =?utf-8?b?4pi6?= hello", body=""
    )

    assert (found.subject, found.names) == ("☺ hello", ("Colm MacCárthaigh",))


def test_addresses_of_every_header_are_found() -> None:
    """Not only From and To name people: any header may."""
    found = read_mail(headers="To: a@x\nX-Sender: Bob <b@y>\nReturn-Path: <c@z.example>", body="")

    assert set(found.addresses) == {"a@x", "b@y", "c@z.example"}


def test_plain_text_is_preferred_and_attachments_are_left() -> None:
    """Of a multipart mail its plain text is read, not its HTML twin nor what is attached."""
    body = (
        "--b\nContent-Type: text/plain\n\nplain\n--b\nContent-Type: text/html\n\n<b>rich</b>\n"
        "--b\nContent-Type: text/plain\nContent-Disposition: attachment\n\nattached\n--b--\n"
    )

    assert read_mail(headers='Content-Type: multipart/mixed; boundary="b"', body=body).body.strip() == "plain"


@pytest.mark.parametrize(
    ("encoding", "body"), [("base64", base64.b64encode(b"caf\xe9").decode()), ("quoted-printable", "caf=E9")]
)
def test_transfer_encodings_are_undone(encoding: str, body: str) -> None:
    """Base64 and quoted-printable become text in the declared charset."""
    headers = f"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: {encoding}"

    assert read_mail(headers=headers, body=body).body.strip() == "café"


@pytest.mark.parametrize("headers", ["Subject: x", "Content-Type: text/plain; charset=iso-8859-1"])
def test_an_unencoded_body_is_what_the_landing_file_says(headers: str) -> None:
    """It is UTF-8 whatever charset the mail names, or names none: no letter of a name is lost."""
    assert read_mail(headers=headers, body="Grüße, Jürgen 王小明").body == "Grüße, Jürgen 王小明"


def test_an_unknown_charset_is_undecodable() -> None:
    """Encoded text in a charset nobody knows has no reading, and marks the row instead of stopping the file."""
    headers = "Content-Type: text/plain; charset=klingon\nContent-Transfer-Encoding: base64"
    with pytest.raises(Undecodable):
        read_mail(headers=headers, body="aGVsbG8=")

    assert read_content(mail(1, headers=headers, body="aGVsbG8="), SOURCE).decodable is False


@pytest.mark.parametrize("value", [None, 7, "\ud800"])
def test_what_is_no_text_is_undecodable(value: object) -> None:
    """A body that is missing, a number or a lone surrogate marks its row."""
    assert read_content(mail(1, body=value), SOURCE).decodable is False


@pytest.mark.parametrize(
    "headers",
    [
        "From: " + "(" * 600,
        "Date: Mon, 1 Jan 2000 " + "1:" * 40_000,
        "Content-Type: text/plain; charset*=utf-8''a; charset*0*=b\nContent-Transfer-Encoding: base64",
        "X: " + "a" * 102_400,
        "\n".join(f"Content-Type: multipart/mixed; boundary=b{n}" for n in range(21)),
    ],
)
def test_a_mail_that_breaks_its_parser_is_undecodable(headers: str) -> None:
    """Whatever a sender wrote marks the row: nobody can stop a night by a mail."""
    with pytest.raises(Undecodable):
        read_mail(headers=headers, body="body")


def test_a_broken_encoded_word_stays_as_it_is() -> None:
    """Base64 of an impossible length is no reason to lose the mail, nor who sent it."""
    found = read_mail(headers="From: =?utf-8?b?A?= <a@b.c>\nSubject: =?utf-8?b?A?=", body="body")

    assert (found.subject, found.body, found.addresses) == ("=?utf-8?b?A?=", "body", ("a@b.c",))


@pytest.mark.parametrize("piece", ["<a", "</", "<a b='", '<a href="x', "<a/", "</a ", "<", "<!", "<a b='>", "&#"])
def test_no_html_is_read_for_long(piece: str) -> None:
    """A million characters of tags that never end cost a second, not hours."""
    start = time.process_time()
    html_to_text(piece * (MAX_HTML_CHARACTERS // len(piece)))

    assert time.process_time() - start < 5


@pytest.mark.parametrize("piece", ["=?a?q?", "=?utf-8?q?a?= ", "@", "(a)", "X{}:@\n"])
def test_no_headers_are_read_for_long(piece: str) -> None:
    """As many as a mail may have cost a second or two, whatever they are made of."""
    start = time.process_time()
    lines = "".join(piece.format(n) for n in range(100_000 // (len(piece) + 4)))
    with contextlib.suppress(Undecodable):
        read_mail(headers=f"Subject: {lines}", body="body")

    assert time.process_time() - start < 5


def test_what_looks_like_a_tag_and_is_none_is_seen() -> None:
    """Less-than signs and tags that are cut off are text."""
    assert html_to_text("1 < 2 <b>and</b> a <b c <i>d</i> <a href=x") == "1 < 2 and a <b c d <a href=x"


@pytest.mark.parametrize("date", ["", "Thu, 99 Foo 102", "Mon, 1 Jan 99999 00:00:00 +0000", "+" * 100])
def test_an_unreadable_date_is_none(date: str) -> None:
    """A Date header that says nothing readable gives no date and no error."""
    assert read_mail(headers=f"Date: {date}", body="").sent is None


def test_html_is_what_its_reader_sees() -> None:
    """Scripts and heads go, blocks break lines, inline tags leave no gap, entities are decoded."""
    html = "<head><title>t</title></head><p>Buy<br>now</p><script>x()</script>bob<b>@</b>x.com &amp; more<!-- c"

    assert html_to_text(html).split() == ["Buy", "now", "bob@x.com", "&", "more"]


def test_an_unclosed_head_does_not_hide_the_body() -> None:
    """A head that never ends is ended by the body, as browsers do."""
    assert html_to_text("<head><style>a<body>seen").strip() in ("seen", "")
    assert html_to_text("<head><meta x><body>seen").strip() == "seen"


def test_normal_form_hides_no_address() -> None:
    """A fullwidth @, a zero-width space and a soft hyphen vanish before recognisers look."""
    assert normalise("bob\uff20ex\u200bam\u00adple.com\r\n\tnext") == "bob@example.com\nnext"
