"""`python -m dolfinx_admat drive FILE`: run case files."""

import argparse
import sys
import time

from dolfinx_admat.errors import AdmatError, ConvergenceError

from .case_file import read_case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``drive``."""
    parser.add_argument("file", nargs="+", help="case files (TOML); see the page Case files")
    parser.add_argument("--out", metavar="DIR", help="folder for csv and PNG; default: the file's")


def run(options: argparse.Namespace) -> int:
    """Run the files; 0 if all is well, 1 if a specimen failed, 2 if a file is wrong."""
    status = 0
    for file in options.file:
        begin = time.perf_counter()
        try:
            case = read_case(file)
            result = case.run()
            written = case.write(result, options.out)
        except ConvergenceError as error:
            print(f"drive: {file}: {error}", file=sys.stderr)
            status = max(status, 1)
            continue
        except AdmatError as error:
            print(f"drive: {error}", file=sys.stderr)
            status = 2
            continue
        steps, divided = result.status.shape[1] - 1, int((result.substeps > 1).sum())
        failed = int((~result.converged).sum())
        print(
            f"{file}: {type(case.law).__name__}, {result.specimens} specimen(s), {steps} steps"
            + (f", {divided} of them divided" if divided else "")
            + (f", {failed} specimen(s) FAILED" if failed else "")
            + f", {time.perf_counter() - begin:.1f} s; wrote {', '.join(map(str, written))}",
            flush=True,
        )
        status = max(status, int(failed > 0))
    return status
