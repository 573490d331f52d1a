"""The one error of this package: something a person has to know or do."""


class DevClusterError(Exception):
    """The instance could not be brought where it should be."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Say what is wrong in one sentence, and what to do about it or what helps to see why."""
        super().__init__(message)
        self.hint = hint
