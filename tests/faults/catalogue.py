"""The faults that are scheduled, each with its number in the catalogue, and how often each one fired."""

from __future__ import annotations

from collections import Counter
from enum import Enum


class Kind(Enum):
    """One kind of fault. F: a store or the way to it; L: the local machine; P: a process."""

    REFUSED = "F01", "connection refused"
    BLACKHOLE = "F02", "request taken, never answered"
    SLOW_BODY = "F03", "body of one byte a second"
    SLOW_DOWN = "F04", "503 SlowDown"
    SERVER_ERROR = "F05", "500, 502, 504"
    LOST_REPLY = "F06", "effect, then reset"
    LOST_CALL = "F07", "no effect, then reset"
    LATE_DUPLICATE = "F08", "the same request again, later"
    LATE_EFFECT = "F09", "reset, then the effect"
    CUT_BODY = "F10", "body cut, length right"
    SHORT_BODY = "F11", "body cut, length cut with it"
    FLIPPED_BIT = "F12", "one bit of the body flipped"
    WRONG_KEY = "F13", "another key's body"
    LOST_WRITE = "F14", "200, nothing stored"
    STALE = "F15", "404 of a key that is there"
    STALE_LIST = "F16", "a list without its last key"
    CIRCLING_LIST = "F16b", "a list that never ends"
    WRONG_CHECKSUM = "F17", "another checksum in the header"
    TORN_COMPLETE = "F18", "200 with an error inside"
    SPURIOUS_412 = "F19", "412 of an absent key"
    SPURIOUS_409 = "F19b", "409 of an absent key"
    DENIED = "F20", "403 ExpiredToken"
    WRONG_CERTIFICATE = "F21", "certificate of another CA or host"
    SKEWED = "F22", "403 RequestTimeTooSkewed"
    FAST_CLOCK = "F22b", "clock of the server ahead"
    WIPED = "F23", "everything gone"
    SWAPPED = "F24", "another site answers"
    QUOTA = "F25", "507, 403 QuotaExceeded"
    NO_NAME = "F26", "name not resolved"
    REDIRECT = "F27", "307 to another host"
    IGNORED_CONDITION = "F28", "If-None-Match ignored"
    DELAY = "F29", "answer late, within the limit"
    ROTTEN = "F30", "bytes changed on disk"
    FULL_DISK = "L01", "no space at byte n"
    IO_ERROR = "L02", "input/output error"
    NO_HANDLES = "L04", "too many open files"
    READ_ONLY = "L06", "read-only file system"
    KILLED = "P01", "process ends at boundary k"
    STOPPED = "P02", "process stopped, then goes on"
    SERVER_KILLED = "P01b", "server killed with SIGKILL"

    def __init__(self, number: str, words: str) -> None:
        self.number, self.words = number, words


class Ledger:
    """What faults came to in this run."""

    def __init__(self) -> None:
        self.fired: Counter[Kind] = Counter()
        self.outcomes: Counter[tuple[Kind, str]] = Counter()
        self.excused: dict[Kind, str] = {}
        """Faults that this machine does not let a test make, and why."""

    def note(self, kind: Kind, outcome: str, fired: int = 1) -> None:
        """Note what an operation came to under a fault: `survived`, or the name of the error that refused it."""
        self.fired[kind] += fired
        self.outcomes[kind, outcome] += 1

    def lines(self) -> list[str]:
        """Return a table: fault, how often it fired, and what the operations came to."""
        lines = [f"{'fault':<42} {'fired':>6} {'survived':>9} {'refused':>8}  by"]
        for kind in (kind for kind in Kind if self.fired[kind]):
            refused = {outcome: count for (met, outcome), count in self.outcomes.items() if met is kind}
            survived = refused.pop("survived", 0)
            by = ", ".join(f"{name} {count}" for name, count in sorted(refused.items()))
            name = f"{kind.number:<5}{kind.words}"
            lines.append(f"{name:<42} {self.fired[kind]:>6} {survived:>9} {sum(refused.values()):>8}  {by}")
        return lines + [f"{kind.number:<5}{kind.words}: not made here, {why}" for kind, why in self.excused.items()]

    def silent(self) -> list[Kind]:
        """Return the faults that never fired."""
        return [kind for kind in Kind if not self.fired[kind]]


LEDGER = Ledger()
