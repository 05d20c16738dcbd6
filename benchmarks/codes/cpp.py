"""The hand-written C++ of j2.cpp, compiled on the spot."""

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from . import Failed, Run, aligned

FLAGS = [
    "-O3",
    "-march=native",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-std=c++17",
    "-shared",
    "-fPIC",
]
_library = None


def compiler():
    """Program and arguments of the C++ compiler."""
    return os.environ.get("CXX", "g++").split()


def library():
    global _library
    if _library is None:
        source = Path(__file__).with_name("j2.cpp")
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "j2.so")
            try:
                subprocess.run(
                    [*compiler(), *FLAGS, str(source), "-o", str(target)],
                    check=True,
                    capture_output=True,
                    text=True,
                )
            except FileNotFoundError:
                raise Failed(f"no C++ compiler ({compiler()[0]})") from None
            except subprocess.CalledProcessError as error:
                raise Failed(f"does not compile: {error.stderr[-300:]}") from None
            _library = ctypes.CDLL(str(target))
    return _library


def prepare(law, points, tangent):
    hardening = law.hardening
    parameters = np.array(
        [float(v) for v in (law.E, law.nu, hardening.sigma_y, hardening.Q, hardening.b)]
    )
    update, n = library().j2_update, points.size
    given = [points.inputs["strain"]]
    given += [points.state[name] for name in ("plastic_strain", "equivalent_plastic_strain")]
    given = [np.ascontiguousarray(a) for a in given]
    stress, matrix, flow, p = (aligned(s) for s in ((n, 6), (n, 6, 6), (n, 6), (n,)))
    address = lambda a: a.ctypes.data_as(ctypes.c_void_p)  # it holds on to the array  # noqa: E731
    arguments = [
        ctypes.c_long(n),
        *map(address, given),
        address(stress),
        address(matrix) if tangent else None,
        *map(address, (flow, p, parameters)),
    ]

    def call():
        update(*arguments)

    def results():
        return {"stress": stress}, {("stress", "strain"): matrix} if tangent else {}

    return Run(call, results, n)
