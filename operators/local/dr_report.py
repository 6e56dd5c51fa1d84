"""What `make dr-demo` says: what was lost, and what came back."""

from __future__ import annotations

from dataclasses import dataclass

from operators.local.losing import Loss
from operators.local.rebuild import Rebuilt


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """What came back, and how long it took."""

    rebuilt: Rebuilt
    restore_seconds: float
    rto_seconds: float
    """From the restore command to the first answered prediction."""
    answers: list[list[str]]
    version: str
    dag_runs: int


def lost_lines(loss: Loss, before: int, after: int) -> list[str]:
    """Return what is gone, given how many copies there were and are."""
    return [
        f"LOST  Airflow's database: {loss.dag_runs} runs, {loss.database_bytes / 1e6:.1f} MB",
        f"LOST  data of {' and '.join(loss.days)}: {len(loss.data)} objects, {loss.data_bytes / 1e6:.1f} MB, "
        "on every endpoint",
        f"LOST  the released model {loss.version}: {len(loss.model)} objects, {loss.model_bytes / 1e6:.1f} MB, "
        "on every endpoint and on every server",
        f"      {before} copies of these objects were there, {after} are left; the platform is down",
    ]


def summary_lines(loss: Loss, found: Recovery, *, same: bool) -> list[str]:
    """Return what came back, and whether the model answers as before."""
    done = found.rebuilt.restored
    return [
        "",
        f"BACK  Airflow's database: {found.dag_runs} runs, as the backup has it",
        f"BACK  data of {' and '.join(loss.days)}, and the model {loss.version}",
        f"      {done.manifests + done.objects} digests verified ({done.size_bytes / 1e6:.1f} MB); "
        f"{done.written} pieces ({done.written_bytes / 1e6:.1f} MB) written anew; {found.restore_seconds:.1f} s",
        f"      {len(found.answers)} predictions by {found.version}: "
        + ("the same as before" if same else "NOT THE SAME AS BEFORE"),
        f"RTO   {found.rto_seconds:.1f} s from the restore command to the first answered prediction",
    ]
