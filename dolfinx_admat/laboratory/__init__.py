"""The material-point laboratory: any law along any path, before it goes into a mesh."""

from ._control import Controlled as Controlled
from ._csv import read_csv as read_csv
from ._report import AuditReport as AuditReport
from ._report import Finding as Finding
from ._report import Outcome as Outcome
from ._report import TangentReport as TangentReport
from ._report import TangentRow as TangentRow
from ._samples import SamplePoint as SamplePoint
from .audit import audit as audit
from .case_file import Case as Case
from .case_file import read_case as read_case
from .case_file import run_case as run_case
from .driver import drive as drive
from .field_data import FieldData as FieldData
from .field_data import read_field_data as read_field_data
from .path import Path as Path
from .response import PathResponse as PathResponse
from .response import RecordedSteps as RecordedSteps
from .response import path_response as path_response
from .response import path_sensitivities as path_sensitivities
from .response import recorded_steps as recorded_steps
from .result import DriveResult as DriveResult
from .tangent import check_tangent as check_tangent
