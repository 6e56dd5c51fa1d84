"""Real input for the main job: mail laid out as a landing zone, and the base model; found in place the second time."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping

from operators.local.base_model import fetch_base_model
from operators.local.corpus import fetch_corpus, lay_out
from operators.local.layout import Layout, PlatformError

SLICE_VARIABLE = "NIGHTSHIFT_CORPUS_SLICE"
"""JSON `{"days": ["2002-09-26", ...], "mails_a_day": 40}`: lay out a part of the corpus only, for a quick look."""


def prepare_inputs(layout: Layout, environment: Mapping[str, str] = os.environ) -> None:
    """Return once landing zone and base model are in place, each checked against its pinned digest.

    Raises:
        NightshiftError: What was fetched is not what is pinned; nothing of it is kept.
        PlatformError: The slice is no such document.
    """
    fetch_base_model(layout.downloads, layout.models)
    days, mails_a_day = _slice(environment.get(SLICE_VARIABLE))
    lay_out(fetch_corpus(layout.downloads), layout.landing, days=days, mails_a_day=mails_a_day)


def _slice(text: str | None) -> tuple[list[datetime.date] | None, int | None]:
    if not text:
        return None, None
    try:
        document = json.loads(text)
        days = [datetime.date.fromisoformat(day) for day in document["days"]]
        return days, document.get("mails_a_day")
    except (ValueError, KeyError, TypeError) as error:
        raise PlatformError(
            f'{SLICE_VARIABLE} must be JSON like {{"days": ["2002-09-26"], "mails_a_day": 40}}: {error}'
        ) from None
