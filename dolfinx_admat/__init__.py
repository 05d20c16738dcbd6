"""Constitutive laws of one material point in JAX, solved in parallel by FEniCSx.

Importing this package switches JAX to float64 and, in a process that an MPI launcher started,
gives it one thread and the CPU unless the environment says otherwise. It works with JAX alone;
`import dolfinx_admat.fem` gives the finite element part.
"""

from dolfinx_admat import _runtime

_runtime.configure()  # before JAX starts its thread pool

import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)

__version__ = "0.1.0"

from . import learning as _learning  # noqa: E402, F401 -- law files may name its classes
from .errors import AdmatError as AdmatError  # noqa: E402
from .errors import ConvergenceError as ConvergenceError  # noqa: E402
from .errors import MaterialError as MaterialError  # noqa: E402
from .implicit import LocalNewton as LocalNewton  # noqa: E402
from .implicit import LocalResult as LocalResult  # noqa: E402
from .implicit import LocalStatus as LocalStatus  # noqa: E402
from .laboratory import DriveResult as DriveResult  # noqa: E402
from .laboratory import Path as Path  # noqa: E402
from .laboratory import audit as audit  # noqa: E402
from .laboratory import check_tangent as check_tangent  # noqa: E402
from .laboratory import drive as drive  # noqa: E402
from .law_file import LawFile as LawFile  # noqa: E402
from .law_file import load_law as load_law  # noqa: E402
from .law_file import read_law_file as read_law_file  # noqa: E402
from .law_file import save_law as save_law  # noqa: E402
from .materials import *  # noqa: E402, F403
