"""B7: requests a second of a model server, against MLServer, LitServe and bare FastAPI with the same model.

Banking77's test rows, a text a request, on MiniLM in int8 with a head of 77 labels. Every server has core 0, the load
core 1. `in process` is the classifier itself on core 0, at the batch that is best. A server's rate is the best of 1, 8,
32 and 64 connections whose 99th percentile is at most 150 ms. At twice the best rate of all, an answer counts if it
comes within 1 s.
"""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from operators.core.deployment.client import Server, Serving, bring
from operators.core.deployment.releases import Wanted, make_release
from operators.core.deployment.server.settings import SERVER_VARIABLE, ServerSettings
from operators.core.deployment.server.versions import ROWS
from operators.core.manifest import Made, StageCall
from operators.core.settings import STORAGE_VARIABLE
from operators.core.signing import SIGNED_BY, Signer
from operators.core.storage import Store, open_store
from operators.local.base_model import fetch_base_model
from operators.local.layout import REPOSITORY, Layout
from tests.benchmarks.shard_io import make_store
from tests.benchmarks.timing import parse, publish
from tests.core.deployment.conftest import free_port
from tests.core.training.banking import FOLDER, NEEDED

PYTHON = REPOSITORY / ".venv-bench-serving" / "bin" / "python"
MODEL, TOKEN = "banking", "a-token-for-this-bench"
SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS = (1, 8, 32, 64)
MOST_P99_MS = 150.0
SECONDS = 5.0
RIVALS = ("mlserver defaults", "mlserver tuned", "litserve", "fastapi")
GOAL = {"in process": 0.7, "mlserver defaults": 2.0, "goodput": 0.9}
"""The least that our rate may be of each, and goodput at twice our rate of that rate."""


@dataclass
class Measured:
    """A server's runs."""

    url: str
    process: psutil.Process
    runs: list[dict[int, dict[str, Any]]] = field(default_factory=list)
    """By connections, pair by pair."""

    def load(self, bodies: Path, connections: int, seconds: float, rate: float = 0) -> dict[str, Any]:
        """Ask it; return what the load's process saw, and the server's processor time a request that it answered."""
        before = _cpu_seconds(self.process)
        seen = load(self.url, bodies, connections, seconds, rate)
        spent = (_cpu_seconds(self.process) - before) * 1e3
        return {**seen, "cpu_ms": round(spent / max(1, seen.pop("answered")), 2)}

    def cpu_ms(self) -> float:
        """Return the least processor time a request, the median over the pairs: a busy machine changes it least."""
        return float(statistics.median(min(one["cpu_ms"] for one in run.values()) for run in self.runs))

    def peaks(self) -> list[float]:
        """Return the best rate of each pair, however late the answers."""
        return [max(one["rate"] for one in run.values()) for run in self.runs]

    def rates(self) -> list[float]:
        """Return the best rate of each pair whose 99th percentile is held; of one connection where none is."""
        return [
            max((one["rate"] for one in run.values() if one["p99_ms"] <= MOST_P99_MS), default=run[1]["rate"])
            for run in self.runs
        ]


def make_model(folder: Path, texts: Sequence[str]) -> None:
    """Write MiniLM in int8 with a head of 77 labels; untrained, for its answers are only compared."""
    from operators.core.compression.export import export_onnx
    from operators.core.compression.quantise import quantise
    from operators.core.models.card import ClassifierCard
    from operators.core.models.encoder import load_base

    layout = Layout.from_environment(os.environ)
    base = fetch_base_model(layout.home / "downloads", layout.home / "models")
    model = load_base(base, "text_classification", 77, dropout=0.0, seed=0).eval()
    export_onnx(model, folder.parent / "fp32.onnx", opset=18)
    quantise(folder.parent / "fp32.onnx", folder / "model.onnx")
    card = ClassifierCard(format="onnx", labels=tuple(f"intent-{n}" for n in range(77)), max_length=64)
    (folder / "classifier.json").write_text(card.to_json())
    (folder / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())


def release_of(store: Store, folder: Path, signer: Signer) -> tuple[str, str]:
    """Return version and digest of a release of that model: signed as the gate would."""
    files = tuple(store.put_bytes(path.name, path.read_bytes()) for path in sorted(folder.iterdir()))
    call = StageCall(stage="compress", revision=1, spec={"bench": "B7"})
    model = store.once(call, lambda: Made(files=files)).digest
    verdict = StageCall(stage="gate", revision=1, spec={SIGNED_BY: signer.public_key})
    facts = {"verdict": "passed", "recipe": MODEL, "day": "2026-01-01", "model": model}
    judged = store.once(verdict, lambda: signer.sign(store, verdict, Made(facts=facts))).digest
    release = make_release(store, Wanted.read(store, MODEL, judged, (signer.public_key,)))
    return release.version, release.digest


@contextlib.contextmanager
def running(command: Sequence[str], ready: str, log: Path, variables: Mapping[str, str]) -> Iterator[psutil.Process]:
    """Run a server on its core until the block ends; it answers `ready` when the block begins."""
    pinned = ["taskset", "-c", str(SERVER_CORE), *command]
    with log.open("w") as output:
        process = subprocess.Popen(
            pinned,
            stdout=output,
            stderr=output,
            env={**os.environ, **variables},
            cwd=log.parent,
            start_new_session=True,
        )
    until = time.monotonic() + 180
    try:
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{' '.join(command)} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield psutil.Process(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, timeout=5).status_code == 200
    return False


@contextlib.contextmanager
def servers(folder: Path, model: Path, rivals: Sequence[str]) -> Iterator[dict[str, Measured]]:
    """Start our server and the rivals, each with the model."""
    with contextlib.ExitStack() as stack:
        measured = {"ours": stack.enter_context(_ours(folder, model))}
        for name in rivals:
            target = folder / name.replace(" ", "-")
            if name.startswith("mlserver"):
                started = _mlserver(target, model, is_tuned=name.endswith("tuned"))
            else:
                started = _script(target, model, name)
            measured[name] = stack.enter_context(started)
        yield measured


@contextlib.contextmanager
def _script(folder: Path, model: Path, name: str) -> Iterator[Measured]:
    """Run the rival that is a script beside this one."""
    port = free_port()
    folder.mkdir()
    command = [str(PYTHON), str(Path(__file__).with_name(f"rival_{name}.py")), str(model), str(port)]
    with running(command, f"http://127.0.0.1:{port}/docs", folder / "log", {}) as process:
        yield Measured(f"http://127.0.0.1:{port}/infer", process)


@contextlib.contextmanager
def _ours(folder: Path, model: Path) -> Iterator[Measured]:
    settings, signer = make_store(folder / "store"), Signer(bytes(range(32)))
    store = open_store(settings)
    version, digest = release_of(store, model, signer)
    store.close()
    port = free_port()
    command = [sys.executable, "-m", "operators.core.deployment.server", "--port", str(port), "--name", "ours"]
    command += ["--folder", str(folder / "server"), "--model", MODEL]
    variables = {
        STORAGE_VARIABLE: settings.to_json(),
        SERVER_VARIABLE: ServerSettings(trusted=(signer.public_key,)).to_json(),
        "NIGHTSHIFT_SERVING_TOKEN": TOKEN,
        "PYTHONPATH": str(REPOSITORY),
    }
    url = f"http://127.0.0.1:{port}"
    with running(command, f"{url}/v2/health/live", folder / "ours.log", variables) as process:
        controlled = Server(url, MODEL, TOKEN, timeout_seconds=60)
        bring(controlled, Serving(releases={version: digest}, current=version))
        controlled.close()
        yield Measured(f"{url}/v2/models/{MODEL}/infer", process)


@contextlib.contextmanager
def _mlserver(folder: Path, model: Path, *, is_tuned: bool) -> Iterator[Measured]:
    """Run MLServer as it comes, or with batches like ours and without a worker process, no help on one core."""
    runtime = REPOSITORY / "tests" / "core" / "deployment" / "mlserver_runtime.py"
    folder.mkdir()
    (folder / runtime.name).write_bytes(runtime.read_bytes())
    http = free_port()
    ports = {"http_port": http, "grpc_port": free_port(), "metrics_port": free_port()}
    (folder / "settings.json").write_text(
        json.dumps({"host": "127.0.0.1", **ports, **({"parallel_workers": 0, "debug": False} if is_tuned else {})})
    )
    implementation = {"implementation": "mlserver_runtime.OnnxClassifier", "parameters": {"uri": str(model)}}
    batches = {"max_batch_size": 16, "max_batch_time": 0.001} if is_tuned else {}
    (folder / "model-settings.json").write_text(json.dumps({"name": MODEL, **implementation, **batches}))
    command = [str(PYTHON.with_name("mlserver")), "start", str(folder)]
    url = f"http://127.0.0.1:{http}/v2/models/{MODEL}"
    with running(command, f"{url}/ready", folder / "log", {"PYTHONPATH": str(folder)}) as process:
        yield Measured(f"{url}/infer", process)


def _cpu_seconds(process: psutil.Process) -> float:
    """Return what a process and its children have used."""
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def load(url: str, bodies: Path, connections: int, seconds: float, rate: float = 0) -> dict[str, Any]:
    """Return what the load's process on its core saw."""
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "tests.benchmarks.serve_load"]
    command += [url, str(bodies), str(connections), str(seconds), str(rate)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def in_process(model: Path, texts: Sequence[str], seconds: float) -> dict[str, float]:
    """Return texts a second of the classifier on the servers' core at its best batch, and processor time a text."""
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "tests.benchmarks.serve", "--child"]
    done = subprocess.run(
        [*command, str(model), str(seconds)], input=json.dumps(list(texts)), capture_output=True, text=True, check=True,
        cwd=REPOSITORY,
    )  # fmt: skip
    by_batch: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return max(by_batch.values(), key=lambda one: one["rate"])


def child(model: str, seconds: str) -> None:
    """Print the classifier's texts a second, and processor time a text, by batch."""
    from operators.core.models.classifier import load_classifier

    texts, rates = json.loads(sys.stdin.read()), {}
    classifier = load_classifier(Path(model), 1, ROWS)
    for batch in (1, 8, 16, 32, 64):
        classifier.answers(texts[:batch])
        begun, cpu, done = time.perf_counter(), time.process_time(), 0
        while (passed := time.perf_counter() - begun) < float(seconds) / 5:
            start = done % (len(texts) - batch)
            done += len(classifier.answers(texts[start : start + batch]))
        spent = time.process_time() - cpu
        rates[batch] = {"rate": round(done / passed, 1), "cpu_ms": round(spent / done * 1e3, 2)}
    print(json.dumps(rates))


def answers_of(url: str, bodies: Sequence[bytes]) -> list[tuple[str, float]]:
    """Return label and score of each request, one after the other."""
    found = []
    with httpx.Client(timeout=60) as client:
        for body in bodies:
            response = client.post(url, content=body, headers={"Content-Type": "application/json"})
            response.raise_for_status()
            outputs = {one["name"]: one["data"] for one in response.json()["outputs"]}
            found.append((str(outputs["label"][0]), round(float(outputs["score"][0]), 5)))
    return found


def request(text: str) -> bytes:
    """Return the request that every server takes; its own limit is the load's deadline."""
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    return json.dumps({"inputs": [tensor], "parameters": {"timeout": 1_000_000}}).encode()


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 1), "min": min(values), "max": max(values), "pairs": len(values)}


def measure(folder: Path, pairs: int, seconds: float, rivals: Sequence[str]) -> dict[str, Any]:
    """Return the benchmark's document."""
    with (FOLDER / "test.csv").open(newline="") as rows:
        texts = [row["text"] for row in csv.DictReader(rows)][:1024]
    model = folder / "model"
    model.mkdir()
    make_model(model, texts)
    bodies = folder / "bodies"
    bodies.write_bytes(b"\n".join(map(request, texts)))
    limits, overload = list[dict[str, float]](), list[dict[str, Any]]()
    with servers(folder, model, rivals) as measured:
        told = {name: answers_of(one.url, [request(text) for text in texts[:32]]) for name, one in measured.items()}
        for number in range(pairs):
            limits.append(in_process(model, texts, seconds))
            for name, one in measured.items():
                one.runs.append({count: one.load(bodies, count, seconds) for count in CONNECTIONS})
                print(f"{number + 1}/{pairs} {name}: {one.runs[-1]}", file=sys.stderr, flush=True)
            peak = measured["ours"].peaks()[-1]
            overload.append({"peak": peak, **measured["ours"].load(bodies, 2048, seconds, 2 * peak)})
        at_twice = {
            name: one.load(bodies, 2048, seconds, 2 * statistics.median(one.peaks())) for name, one in measured.items()
        }
    return document(measured, limits, overload, at_twice, is_equal=all(one == told["ours"] for one in told.values()))


def document(
    measured: Mapping[str, Measured],
    limits: Sequence[Mapping[str, float]],
    overload: Sequence[Mapping[str, Any]],
    at_twice: Mapping[str, Any],
    *,
    is_equal: bool,
) -> dict[str, Any]:
    """Return what was measured, as docs/architecture.md, section 8, has it."""
    rates = {name: one.rates() for name, one in measured.items()}

    def ratio(others: Sequence[float]) -> float:
        return round(statistics.median(own / other for own, other in zip(rates["ours"], others, strict=True)), 2)

    ratios = {name: ratio(many) for name, many in rates.items() if name != "ours"}
    ratios["in process"] = ratio([one["rate"] for one in limits])
    goodput = round(statistics.median(one["rate"] / one["peak"] for one in overload), 2)
    reached = {**ratios, "goodput": goodput}
    met = all(reached.get(name, 0.0) >= least for name, least in GOAL.items())
    return {
        "name": "B7",
        "unit": "requests per second",
        "ours": _spread(rates["ours"]),
        "rivals": {name: _spread(many) for name, many in rates.items() if name != "ours"},
        "by connections": {name: one.runs[-1] for name, one in measured.items()},
        "ratio": ratios if is_equal else None,
        "goodput at twice our rate": goodput,
        "at twice its own rate": dict(at_twice),
        "limit": {"in process": _spread([one["rate"] for one in limits])},
        "processor ms a request": {
            "in process": statistics.median(one["cpu_ms"] for one in limits),
            **{name: one.cpu_ms() for name, one in measured.items()},
        },
        "equal": is_equal,
        "goal": GOAL,
        "met": met and is_equal,
    }


def main() -> None:
    """Measure and print."""
    options = parse(__doc__, ways=RIVALS)
    if not FOLDER.is_dir():
        raise SystemExit(f"B7 {NEEDED}")
    if not PYTHON.exists():
        raise SystemExit("B7 needs the rivals' environment: make bench ONLY=B7")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the export of a graph turns on everybody's log
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        found = measure(Path(name), options.pairs, SECONDS * options.scale, options.only or RIVALS)
        publish({**found, "scale": options.scale})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
