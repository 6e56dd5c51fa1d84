"""The command line of `make backfill`; that it runs days is shown in tests/e2e."""

from __future__ import annotations

import datetime

import pytest

from operators.local.backfill import Days, parse

FIRST, LAST = datetime.date(2002, 9, 20), datetime.date(2002, 9, 22)


def test_both_days_are_included():
    """Airflow's range ends at an instant: the last one of the last day."""
    bounds = Days(first=FIRST, last=LAST).bounds

    assert bounds == {"from_date": "2002-09-20T00:00:00Z", "to_date": "2002-09-22T23:59:59Z"}


def test_the_command_line_is_read():
    """Days, recipe and parameters."""
    job, days = parse(["--from", "2002-09-20", "--to", "2002-09-22", "--param", "epochs=1"])

    assert (job.dag_id, job.conf, days) == ("retrain_mail_triage", {"epochs": 1}, Days(first=FIRST, last=LAST))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "2002-09-22", "--to", "2002-09-20"], "lies after"),
        (["--from", "", "--to", ""], "like 2002-09-26"),
        (["--from", "2002-09-20", "--to", "2002-09-31"], "like 2002-09-26"),
        (["--from", "2002-09-20", "--to", "2002-09-22", "--param", "day=2002-09-01"], "day=2002-09-01"),
    ],
)
def test_wrong_days_end_with_a_message(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    """Exchanged, missing, impossible, or one day for every run: nothing is started."""
    with pytest.raises(SystemExit):
        parse(arguments)

    assert message in capsys.readouterr().err
