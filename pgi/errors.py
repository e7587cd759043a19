"""The errors that a user can fix. Programs catch `UserError` and print its message as one line."""

from __future__ import annotations


class UserError(ValueError):
    """Base class: something that the user gave or has is wrong; the message says what and how."""


class RuleError(UserError):
    """A value breaks a rule; the message names the argument, the rule and the value."""


class RunFolderError(UserError):
    """The folder is no run folder, belongs to another run, or its checkpoint cannot be read."""


class NoUsableImageError(UserError):
    """Nothing to train on; the message names the place and what was found there."""


class PlanError(UserError):
    """The images, masks and outputs that were named do not fit each other; nothing was begun."""


class PictureError(UserError):
    """A file cannot be filled; the message says why."""


class ExportError(UserError):
    """An export cannot be made or failed its check; nothing of it is left behind."""


class NonFiniteLossError(UserError, ArithmeticError):
    """A loss or weight became infinite or not a number; the message names the level and the term.

    Args:
        step: the last step that was taken.
        reason: which loss or weights are not finite.
        advice: what the user has, and can do.
    """

    def __init__(self, step: int, reason: str, advice: str) -> None:
        super().__init__(f"step {step}: {reason}. {advice}")
        self.step, self.reason = step, reason
