"""The exceptions that the library raises on purpose."""


class AdmatError(Exception):
    """Base class of all errors raised by dolfinx_admat."""


class MaterialError(AdmatError):
    """A constitutive law, its parameters or its use is wrong; retrying cannot help."""


class ConvergenceError(AdmatError):
    """A solve failed; displacement and state are as they were, a smaller step may succeed.

    Attributes:
        report: Data about the failure (reason, counts, worst point, ...); plain Python values.
    """

    def __init__(self, message: str, report: dict | None = None):
        super().__init__(message)
        self.report = {} if report is None else report
