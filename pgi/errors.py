"""Errors that a user can fix. Programs catch `UserError` and print its message."""

from __future__ import annotations


class UserError(ValueError):
    """Base class. The message says what is wrong and how to fix it."""


class RuleError(UserError):
    """A value breaks a rule; the message names the argument, the rule and the value."""


class RunFolderError(UserError):
    """A folder is not a run folder, belongs to another run, or its checkpoint cannot be read."""


class WriteError(UserError, OSError):
    """A file cannot be written, for example on a full disk; what was there before is intact.

    It has the `errno` and `strerror` of the system's error.
    """

    def __str__(self) -> str:
        return str(self.args[0])  # Of an OSError with an errno, Python shows these instead.


class NoUsableImageError(UserError):
    """There is nothing to train on; the message names the place and what was found there."""


class PlanError(UserError):
    """The given images, masks and outputs do not fit together; nothing was written."""


class PictureError(UserError):
    """A picture cannot be filled; the message says why."""


class StorageError(UserError):
    """The demo page's temporary folder has no room; the message says when to try again."""


class AccountsError(UserError):
    """A file of names and passwords cannot be used; the message names the line, no password."""


class ExportError(UserError):
    """An export failed, or its results are wrong; nothing of it is left behind."""


class PerceptualError(UserError):
    """A perceptual metric cannot be computed: a package or a network's weights are missing."""


class Interrupted(UserError):
    """A training was stopped by a signal; what it had learned is saved.

    Args:
        signal: its number.
        message: names the signal, the step and the checkpoint.
    """

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(message)
        self.signal = signal


class NonFiniteLossError(UserError, ArithmeticError):
    """A loss or weight became infinite or not a number; the message names the level and the term.

    Args:
        step: of the training.
        reason: which loss or weights are not finite.
        advice: which checkpoint is kept, and what the user can do.
    """

    def __init__(self, step: int, reason: str, advice: str) -> None:
        super().__init__(f"step {step}: {reason}. {advice}")
        self.step, self.reason = step, reason


class WorkersError(UserError):
    """The processes of a training do not fit together, or one of them has stopped."""


class LostWorkerError(WorkersError):
    """A process of a training is gone; the message names it. To be started again with the rest."""
