"""End all of the platform: `python -m operators.local.stop`. State stays; the next start goes on from it."""

from __future__ import annotations

import os

from operators.core.training.launcher import end_all
from operators.local.layout import DEMO, Layout
from operators.local.supervisor import Supervisor, marked


def stop(layout: Layout) -> bool:
    """Leave no process of this platform; return whether there was one."""
    supervisor = Supervisor(layout)
    if not supervisor.is_up() and not marked(layout):
        return False
    # A training outlives its task on purpose; the end of the platform is the one thing that ends it.
    end_all(layout.scratch)
    supervisor.shut_down()
    return True


def main() -> int:
    """Stop, and say so."""
    layout = Layout.from_environment(os.environ)
    was_up = stop(layout)
    # The demo's platform lies in the same folder, and would outlive it.
    if (layout.home / DEMO).is_dir():
        was_up |= stop(layout.demo)
    print("stopped" if was_up else "nothing was up")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
