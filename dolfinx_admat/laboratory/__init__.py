"""The material-point laboratory: any law along any path, before it goes into a mesh."""

from ._control import Controlled as Controlled
from .driver import drive as drive
from .path import Path as Path
from .result import DriveResult as DriveResult
