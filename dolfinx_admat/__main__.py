"""`python -m dolfinx_admat`: what is installed here, does it work, compile ahead, try a law."""

import argparse
import sys
from collections.abc import Callable
from importlib.util import find_spec

from dolfinx_admat import _runtime
from dolfinx_admat.laboratory import check_command, drive_command


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m dolfinx_admat",
        description="Without a command: versions, precision, threads, devices and caches.",
    )
    parser.set_defaults(run=_show)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add(commands, "info", "print versions, precision, threads, devices and caches", _show)
    _add(
        commands,
        "selftest",
        "check in about a minute that this installation works; also under mpiexec",
        _selftest,
    )
    warm = _add(
        commands,
        "warm",
        "run a script until it has compiled all it needs, for machines without a C compiler; "
        "also under mpiexec",
        _warm,
    )
    warm.add_argument("--full", action="store_true", help="run the script to its end")
    warm.add_argument("script", help="a Python script")
    warm.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the script")
    drive = _add(
        commands,
        "drive",
        "take a law along a path at one point, as a case file says; write csv and a picture",
        _drive,
    )
    drive_command.add_arguments(drive)
    check = _add(
        commands,
        "check",
        "check the tangents of a law, and what must hold for any law",
        _check,
    )
    check_command.add_arguments(check)
    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    return command


def _show(options: argparse.Namespace) -> int:
    from dolfinx_admat._describe import describe

    table = describe()  # on every rank: it starts MPI
    if _runtime.launcher_rank() == 0:
        width = max(map(len, table))
        for label, value in table.items():
            print(f"{label:<{width}}  {value}", flush=True)
    return 0


def _selftest(options: argparse.Namespace) -> int:
    talks = _runtime.launcher_rank() == 0
    try:
        from dolfinx_admat import _selftest as jax_selftest

        line = jax_selftest.run()
        if talks:
            print(f"selftest: {line}", flush=True)
    except Exception as error:
        return _failed("the JAX part", error)
    if find_spec("dolfinx") is None:
        if talks:
            print("selftest: passed; no dolfinx here, so dolfinx_admat.fem was not tested")
        return 0
    try:
        from dolfinx_admat.fem import _selftest as fem_selftest

        status = int(fem_selftest.run())
    except Exception as error:
        return _failed("dolfinx_admat.fem", error)
    if talks:
        print(f"selftest: {'passed' if status == 0 else 'FAILED'}", flush=True)
    return status


def _warm(options: argparse.Namespace) -> int:
    from dolfinx_admat import _warm

    return _warm.run(options.script, options.arguments, options.full)


def _drive(options: argparse.Namespace) -> int:
    return drive_command.run(options)


def _check(options: argparse.Namespace) -> int:
    return check_command.run(options)


def _failed(part: str, error: Exception) -> int:
    text = " ".join(str(error).split())
    print(
        f"selftest: FAILED in {part} on rank {_runtime.launcher_rank()}: "
        f"{type(error).__name__}: {text}",
        file=sys.stderr,
        flush=True,
    )
    _runtime.abort_other_ranks()
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
