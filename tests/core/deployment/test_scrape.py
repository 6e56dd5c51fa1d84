"""What is made of a server's counters between two looks at them."""

from __future__ import annotations

import math

from operators.core.deployment.scrape import Copied, Sample, read_scrape, summed

EARLY = Sample(failed=1.0, buckets=((0.1, 8.0), (math.inf, 10.0)), labels={"ham": 10.0})
LATE = Sample(failed=3.0, buckets=((0.1, 9.0), (math.inf, 15.0)), labels={"ham": 12.0, "spam": 3.0})
TEXT = """
# TYPE nightshift_arm_seconds histogram
nightshift_arm_seconds_bucket{kind="callers",le="0.1",model="m",version="v"} 3.0
nightshift_arm_seconds_bucket{kind="callers",le="+Inf",model="m",version="v"} 4.0
# TYPE nightshift_arm_failures counter
nightshift_arm_failures_total{kind="shadow",model="m",version="v"} 2.0
# TYPE nightshift_shadow_texts counter
nightshift_shadow_texts_total{agrees="no",model="m",version="v"} 5.0
nightshift_shadow_texts_total{agrees="yes",model="m",version="v"} 95.0
"""


def test_what_came_between_two_looks_is_their_difference() -> None:
    """Of failures, answers by time, and labels."""
    between = LATE.since(EARLY)

    assert (between.failed, between.answered, between.slower_than(0.1)) == (2.0, 5.0, 4.0)
    assert between.labels == {"ham": 2.0, "spam": 3.0}


def test_a_server_that_was_started_again_counts_from_zero() -> None:
    """Fewer answers than before are all new."""
    assert EARLY.since(LATE) == EARLY


def test_servers_add_up() -> None:
    """Bucket by bucket and label by label."""
    both = summed([EARLY, LATE])

    assert (both.failed, both.answered, both.slower_than(0.1)) == (4.0, 25.0, 8.0)
    assert both.labels == {"ham": 22.0, "spam": 3.0}


def test_kinds_of_requests_are_read_apart() -> None:
    """Callers' requests, copies, and where copies differ."""
    scrape = read_scrape(TEXT)

    assert (scrape.callers["v"].answered, scrape.callers["v"].slower_than(0.1)) == (4.0, 1.0)
    assert (scrape.shadow["v"].failed, scrape.copied) == (2.0, {"v": Copied(alike=95.0, otherwise=5.0)})
    assert scrape.everything["v"].answered == 0.0
