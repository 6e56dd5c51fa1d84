"""What the pages say: after a good night, a failed one, none, and with things away."""

from __future__ import annotations

import dataclasses
import datetime
import html
import re
import threading
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi import FastAPI
from nightshift_ui.app import build_app

from operators.core.overview.runs import Pipeline, Run
from operators.core.settings import ServingSettings, StorageSettings
from operators.core.storage import Store, open_store
from operators.core.storage.graph import closure
from operators.core.storage.listing import manifest_digests
from operators.overview import Overview
from tests.browser import served
from tests.core.erasure.nights import copy_of
from tests.core.overview.nights import DAG_ID, NOON, SPENT, back_up_whole, note, pipeline_of, run_of, stage, task
from tests.plugins.conftest import app_of, as_role, server_that_says, sources_of

# Great Expectations, which makes the night's data set, imports a module that Python has given up.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{ 1234*4321 }}"


class Tags(HTMLParser):
    """The elements and attributes of a page, as a browser finds them."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        """Note an element."""
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


def text_of(app: FastAPI, path: str = "/", role: str = "viewer") -> str:
    """Return a page that is there."""
    answer = as_role(app, role).get(f"/nightshift{path}")
    assert answer.status_code == 200, answer.text
    return answer.text


def words_of(page: str) -> str:
    """Return what a person reads on a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_a_good_night_is_said_first(app: FastAPI, run: Run) -> None:
    """The headline is the verdict; what is live and what the night did follow, each a link away."""
    page = text_of(app)

    assert '<h1 id="verdict">A good night</h1>' in page
    assert f'href="/dags/{DAG_ID}/runs/{run.run_id}"' in page
    assert f'href="/nightshift/lineage/{run.digest("deploy")}"' in page
    assert f'href="/nightshift/report/{run.digest("evaluate")}/report.html"' in page
    assert f'href="/nightshift/docs/{run.digest("validate")}"' in page
    assert f'href="/nightshift/quarantine/{run.digest("publish_dataset")}"' in page
    assert "8 made" not in page  # one was found
    assert "7 made" in page


def test_availability_is_told_with_how_it_is_known(app: FastAPI, night: StorageSettings, run: Run) -> None:
    """Of today and of the month, never rounded up to all; where nobody watches nothing is claimed."""
    page = words_of(text_of(app))
    sources = dataclasses.replace(sources_of(night), availability=lambda: None)
    pages = FastAPI()
    pages.mount("/nightshift", build_app(Overview(sources, wait_seconds=30), lambda _: [pipeline_of(run)]))

    assert "available today 100 % over 30 days 99.37 %, of which 2 h were watched" in page
    assert "available" not in words_of(text_of(pages)).lower().replace("availability", "")


def test_the_platform_s_backup_stands_beside_the_release_s(
    app: FastAPI, first_night: Path, run: Run, tmp_path: Path
) -> None:
    """Its age and who can open it; one that no keeper can open is red, and a thing for a person."""
    settings = copy_of(first_night, tmp_path)
    back_up_whole(open_store(settings), datetime.datetime.now(datetime.UTC), "drill")
    good, bad = words_of(text_of(app)), text_of(app_of(settings, pipeline_of(run)))

    assert "platform's backup 3 h ago 412 objects, 231.0 MB; opened by the keys of 1 keeper" in good
    assert "release's backup" in good
    assert "no keeper can open it" in words_of(bad)
    assert re.search(r'class="tile amber">\s*<dt>platform', bad)
    assert "Nobody outside this platform can open its newest backup." in words_of(bad)
    assert "never rehearsed" in bad


def test_a_canary_s_split_is_shown(night: StorageSettings, run: Run) -> None:
    """What every request reaches needs no figure; a split between versions has one for each."""
    version = open_store(night).manifest(run.digest("deploy") or "").facts["version"]
    with served(server_that_says(version)) as one, served(server_that_says(version, "next", 0.2)) as other:
        alone = words_of(text_of(app_of(night, pipeline_of(run), servers=(one,))))
        both = words_of(text_of(app_of(night, pipeline_of(run), servers=(one, other))))

    assert "servers 1 of 1 answer all requests go to this version" in alone
    assert "traffic" not in alone
    assert f"traffic 90.0 % 90.0 % {version} 10.0 % 10.0 % next" in both
    assert "1,204" in both


def test_when_nothing_ran_for_days_no_night_is_called_good(night: StorageSettings, run: Run) -> None:
    """A paused recipe is nobody's fault, and no good night either."""
    ended = run.ended_at - datetime.timedelta(days=20)
    page = text_of(app_of(night, pipeline_of(dataclasses.replace(run, ended_at=ended), is_paused=True)))

    assert f"Nothing has run since {ended:%Y-%m-%d}" in page
    assert "A good night" not in page


def test_a_rehearsal_that_had_nothing_to_rehearse_is_no_success(night: StorageSettings, run: Run) -> None:
    """Its run is green in Airflow; here it says what it was. What runs only when asked for says so too."""
    skipped = run_of(task("drill", state="skipped"))
    drill = Pipeline(dag_id="recovery_drill", title="Rehearse a recovery", runs=(skipped,))
    page = words_of(text_of(app_of(night, pipeline_of(run), drill, Pipeline(dag_id="gc", title="Collect garbage"))))

    assert "Rehearse a recovery nothing to do when asked for: Collect garbage" in page


def test_the_data_docs_of_all_groups_are_one_page(night: StorageSettings, run: Run) -> None:
    """A night validates in groups; the link of the night leads to the files of all, in order of their days."""
    store = open_store(night)
    every = {digest: one for digest, one in closure(store, manifest_digests(store)).items() if one.stage == "validate"}
    files = {item.manifest for one in every.values() for item in one.inputs_of("file")}
    tasks = [dataclasses.replace(one, digests=tuple(every)) if one.task_id == "validate" else one for one in run.tasks]
    app = app_of(night, pipeline_of(dataclasses.replace(run, run_id="manual__groups", tasks=tuple(tasks))))
    [path] = re.findall(r'href="/nightshift(/docs/[0-9a-f.]+)"', text_of(app))
    page = text_of(app, path)
    days = re.findall(r"<tr><td>(\d{4}-\d\d-\d\d)</td>", page)

    assert len(every) == 2
    assert set(re.findall(r'href="/nightshift/docs/([0-9a-f]{64})"', page)) == files
    assert days == sorted(days)


def test_every_link_to_a_page_of_ours_works(app: FastAPI) -> None:
    """From the first page and from those it leads to, nothing is a dead end."""
    client, seen, wanted = as_role(app, "viewer"), set(), ["/nightshift/"]
    while wanted and len(seen) < 40:
        path = wanted.pop(0)
        seen.add(path)
        answer = client.get(path)
        is_absent_report = answer.status_code == 404 and path.endswith("report.html")  # a stand-in has no page

        assert answer.status_code == 200 or is_absent_report, path
        found = re.findall(r'href="(/nightshift/[^"#]*)', answer.text)
        wanted += [one for one in dict.fromkeys(found) if one not in seen and one not in wanted and "/site/" not in one]

    assert len(seen) > 10


def test_a_failed_night_is_said_first_with_the_task(night: StorageSettings, run: Run) -> None:
    """What failed is the first need, one click from its log."""
    failed = dataclasses.replace(run, state="failed", tasks=(*run.tasks[:-1], task("deploy", state="failed", tries=6)))
    page = text_of(app_of(night, pipeline_of(failed)))

    assert "The night failed: 1 thing for you" in page
    assert f'href="/dags/{DAG_ID}/runs/{run.run_id}/tasks/deploy"' in page
    assert "deploy failed after 6 tries" in page


def test_before_the_first_run_the_page_says_so(storage_settings: StorageSettings, store: Store) -> None:
    """Nothing live, nothing run, nothing alarming; an operator is led to what can be started."""
    resting = pipeline_of(is_paused=True)
    page = text_of(app_of(storage_settings, resting), role="user")

    assert "Nothing has run yet" in page
    assert "No recipe has run yet." in page
    assert f'href="/dags/{DAG_ID}">Retrain tiny</a>' in page
    assert "No recipe has run yet." in text_of(app_of(storage_settings))


def test_with_an_endpoint_away_the_page_says_which(first_night: Path, run: Run, tmp_path: Path) -> None:
    """The others answer for it, and the figures are all there."""
    settings = copy_of(first_night, tmp_path)
    app = app_of(settings, pipeline_of(run))
    primary = open_store(settings).record.primary
    name = next(one.name for one in settings.endpoints if one.name != primary)
    (tmp_path / name).rename(tmp_path / "away")

    page = words_of(text_of(app))

    assert f"Endpoint {name} is away or does not count." in page
    assert "2 of 3 count" in page
    assert "The night went well, with 1 thing for you" in page
    assert "99.0 %" in page


def test_with_the_store_away_the_page_answers_and_says_so(first_night: Path, run: Run, tmp_path: Path) -> None:
    """Airflow's side is shown; each part that is missing is named with the reason."""
    settings = copy_of(first_night, tmp_path)
    for one in settings.endpoints:
        (tmp_path / one.name).rename(tmp_path / f"{one.name}-away")
    page = words_of(text_of(app_of(settings, pipeline_of(run))))

    assert "Not all of this could be read" in page
    assert "The store does not answer." in page
    assert "Retrain tiny: what is live: QuorumLost" in page


def test_a_page_waits_no_longer_than_agreed_for_what_hangs(storage_settings: StorageSettings, run: Run) -> None:
    """An endpoint and a server that took the question and say nothing: the page is there, and says what is not."""
    release = threading.Event()

    def hang() -> Store:
        release.wait(60)
        raise OSError("gone")

    def serving() -> ServingSettings:
        return ServingSettings(servers=("http://192.0.2.1:9",), balancer_url="http://192.0.2.1:9", token="t")

    sources = dataclasses.replace(sources_of(storage_settings), store=hang, backup=hang, serving=serving)
    pages = FastAPI()
    pages.mount(
        "/nightshift", build_app(Overview(sources, wait_seconds=0.3, read_seconds=0.3), lambda _: [pipeline_of(run)])
    )
    begun = time.monotonic()
    page = words_of(text_of(pages))
    took = time.monotonic() - begun
    release.set()

    assert took < 3.0, took
    assert "No answer yet, reload in a moment: the store; Retrain tiny: what is live" in page
    assert "Nothing, of what could be read." in page


def test_the_first_page_of_a_process_waits_for_what_is_opened(storage_settings: StorageSettings, run: Run) -> None:
    """It is longer in coming than those after it, and whole."""
    true = sources_of(storage_settings)

    def slowly() -> Store:
        time.sleep(0.5)
        return true.store()

    overview = Overview(dataclasses.replace(true, store=slowly), wait_seconds=0.01, read_seconds=30.0)
    pages = FastAPI()
    pages.mount("/nightshift", build_app(overview, lambda _: [pipeline_of(run)]))

    assert "No answer yet" not in words_of(text_of(pages))


def test_names_are_shown_as_text(store: Store, storage_settings: StorageSettings) -> None:
    """A script in a DAG's, run's, task's, data set's or model's name, in facts and in reasons, stays letters."""
    facts = {"rows": {"in": 2, "kept": 1, "duplicates": 0, "near_duplicates": 0, "quarantined": {EVIL: 1}}, "day": EVIL}
    key, dataset = stage(store, "publish_dataset", facts)
    note(store, key, "publish_dataset", "made", energy=EVIL, joules=1.0, spent=SPENT)
    _, drift = stage(store, "check_drift", {"level": "warn", "drifted": EVIL, "name": {EVIL: EVIL}})
    tasks = (task("publish_dataset", dataset), task("check_drift", drift), task(EVIL, state="failed"))
    evil = dataclasses.replace(run_of(*tasks, state="failed"), run_id=EVIL, dag_id=EVIL, kind=EVIL)
    app = app_of(storage_settings, pipeline_of(evil, title=EVIL))

    for path in ("/", f"/manifest/{dataset}.{drift}", f"/lineage/{dataset}", f"/quarantine/{dataset}"):
        tags = Tags()
        tags.feed(text_of(app, path, role="user"))

        assert tags.names.isdisjoint({"script", "img", "iframe", "object", "style"})
        assert not [name for name in tags.attributes if name.startswith("on")]
    assert EVIL in words_of(text_of(app))
    assert "5332114" not in words_of(text_of(app))


def test_refusals_show_what_was_asked_for_as_text(app: FastAPI) -> None:
    """An address that was made up comes back as letters."""
    answer = as_role(app, "viewer").get("/nightshift/manifest/%3Cscript%3Ealert(1)%3C%2Fscript%3E")

    assert answer.status_code == 404
    assert "<script" not in answer.text


def test_links_follow_where_the_api_server_is_mounted(app: FastAPI, run: Run) -> None:
    """Behind a proxy that serves Airflow below a path, links and style lie below it too."""
    from fastapi.testclient import TestClient

    as_role(app, "viewer")
    page = TestClient(app, root_path="/airflow").get("/airflow/nightshift/").text

    assert 'href="/airflow/nightshift/style.css"' in page
    assert f'href="/airflow/dags/{DAG_ID}/runs/{run.run_id}"' in page


def test_a_manifest_is_shown_with_its_account_and_its_way_on(store: Store, storage_settings: StorageSettings) -> None:
    """Facts, what each try cost, what it was made of."""
    key, dataset = stage(store, "publish_dataset", {"day": "2002-09-26", "rows": {"in": 3}})
    note(store, key, "publish_dataset", "made", joules=7200.0, energy="estimated")
    page = words_of(text_of(app_of(storage_settings), f"/manifest/{dataset}"))

    assert "publish dataset" in page
    assert "2002-09-26" in page
    assert "made 2.0 s 2 Wh, estimated" in page


def test_times_are_told_as_of_now() -> None:
    """Words for durations and ages are in the largest units that matter."""
    from nightshift_ui import words

    assert [words.duration(value) for value in (0.2, 59.6, 840, 7500, 90000)] == [
        "0.2 s", "1 min", "14 min", "2 h 5 min", "1 d 1 h",
    ]  # fmt: skip
    assert words.age(NOON, NOON) == "just now"
    assert [words.size(value) for value in (12, 14_200_000)] == ["12 bytes", "14.2 MB"]
    assert [words.energy(value) for value in (1700.0, 72_000.0, 7.2e6)] == ["0.47 Wh", "20 Wh", "2.00 kWh"]
    assert [words.share(value) for value in (None, 0.99, 1.0)] == ["not known", "99.0 %", "100 %"]
    assert [words.shown(one) for one in (None, True, 0.9782241, 12, "a_b")] == ["none", "yes", "0.978224", "12", "a_b"]
