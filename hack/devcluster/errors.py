"""The one error of this package: something a person has to know or do."""


class DevClusterError(Exception):
    """The instance could not be brought where it should be.

    Args:
        message: What is wrong, in one sentence.
        hint: What to do about it, and what may help to see why (log lines, say).
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
