"""The error tree. Each class answers one question: can a retry help?

NightshiftError
├── DataError              the data is wrong: never retry
│   ├── ExpectationFailed      a data set breaks its expectation suite
│   ├── PrivacyRiskTooHigh     the anonymised data would still identify people
│   ├── SourceChanged          a source file is not the one that was listed
│   ├── SignatureRefused       what must be signed is not, or not by a key that is trusted
│   └── HostileInput           an input is built to harm its reader
├── SourceUnavailable      the landing zone, or what parses its files, does not answer: retry
├── StorageError           the store failed: retry
│   ├── CommitUnknown          an effect may or may not have landed
│   ├── PrimaryAway            the primary endpoint does not answer
│   ├── QuorumLost             too few endpoints count
│   ├── KeyMissing             the settings hold no key that opens a file: never retry
│   ├── CollectionRefused      something looks wrong to the collector: never retry
│   └── AllCopiesDamaged       no verified copy is left: never retry
├── TrainingError          training failed
│   ├── WorkerLost             a rank died: resume
│   │   ├── Superseded             another trainer of the same run key went on: resume from its checkpoints
│   │   └── CheckpointDoubted      it does not lose what it lost: resume from the one before
│   └── LossDiverged           the loss is no number, or has run away: never retry
├── GateFailed             the model is worse: never retry
├── DrillFailed            a rehearsed recovery missed a target: never retry
└── DeploymentError        the release did not go live: retry
    ├── Overtaken              another controller, or a person, has gone on: retry
    └── HealthCheckFailed      the candidate failed under traffic: rolled back, never retry
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_TOLD = 50
"""Errors that one message names; it becomes a line of a log."""


class NightshiftError(Exception):
    """Root of every error that Nightshift raises on purpose."""

    retry_can_help: bool = False


class DataError(NightshiftError):
    """The data is wrong; the same data will be wrong again."""


class ExpectationFailed(DataError):
    """A data set breaks an expectation of its suite."""


class PrivacyRiskTooHigh(DataError):
    """Anonymised data would still identify people."""


class SourceChanged(DataError):
    """A source file no longer has the digest it was listed with."""


class SignatureRefused(DataError):
    """A manifest that must be signed is not, or was changed, or the key is not one that is trusted."""


class HostileInput(DataError):
    """An input exceeds the limits that its reader sets, or is built to harm it."""


def all_of(errors: Sequence[DataError]) -> DataError:
    """Return one error that names what each of several says, of their class where they share one."""
    if len(errors) == 1:
        return errors[0]
    kinds = {type(error) for error in errors}
    told = "; ".join(str(error) for error in errors[:MAX_TOLD])
    more = f"; and {len(errors) - MAX_TOLD} more" if len(errors) > MAX_TOLD else ""
    return (kinds.pop() if len(kinds) == 1 else DataError)(f"{len(errors)} files are refused: {told}{more}")


class SourceUnavailable(NightshiftError):
    """The landing zone does not answer, or the process that parses its files was ended from outside."""

    retry_can_help = True


class StorageError(NightshiftError):
    """The store could not do what was asked; nothing half-done is visible."""

    retry_can_help = True


class CommitUnknown(StorageError):
    """A write may or may not have taken effect, and it could not be told."""


class PrimaryAway(StorageError):
    """The primary does not answer: commits wait until it is back or moved."""


class QuorumLost(StorageError):
    """Fewer endpoints count than the step needs."""


class KeyMissing(StorageError):
    """The settings hold no key, or not the right one, for what is encrypted in the store."""

    retry_can_help = False


class CollectionRefused(StorageError):
    """The collector does not go on, for something looks wrong; nothing was deleted."""

    retry_can_help = False


class AllCopiesDamaged(StorageError):
    """No copy with the right digest is left on any endpoint."""

    retry_can_help = False


class TrainingError(NightshiftError):
    """Training stopped because of its code or its spec."""


class WorkerLost(TrainingError):
    """A training process died; the next try resumes from the last checkpoint."""

    retry_can_help = True


class Superseded(WorkerLost):
    """Another trainer of the same run key has gone on; this one is a zombie and stopped."""


class CheckpointDoubted(WorkerLost):
    """What was gone on from has another loss than when it was saved; the one before is next."""


class LossDiverged(TrainingError):
    """The loss is no finite number any more, or so high that the model has lost what it had learnt."""


class GateFailed(NightshiftError):
    """The candidate is worse than the recipe's floor or than what is live."""


class DrillFailed(NightshiftError):
    """A rehearsed recovery took longer, or brought back less, than it may."""


class DeploymentError(NightshiftError):
    """A release could not be brought to the servers."""

    retry_can_help = True


class Overtaken(DeploymentError):
    """Another controller or a person moves the same servers; this one stopped and touched nothing more."""


class HealthCheckFailed(DeploymentError):
    """A candidate answered wrongly or too slowly under traffic and was rolled back."""

    retry_can_help = False
