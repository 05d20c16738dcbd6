"""Native: generated code under sanitizers and valgrind, for all three instruction sets.

The C source is linked with a small program that allocates buffers of exactly the right sizes.
"""

import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import _compiler
from dolfinx_admat.kernels import BatchKernel

CC = shutil.which("gcc")
SETS = {
    "avx512": ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mfma"),
    "avx2": ("-mavx2", "-mfma", "-mno-avx512f"),
    "generic": ("-DADMAT_GENERIC",),  # and no fused operations
}
NEEDS = {"avx512": {"avx512f", "avx512dq", "avx512vl"}, "avx2": {"avx2", "fma"}}
FLAGS = (
    "-O1",
    "-fexpensive-optimizations",
    "-g",
    "-fno-var-tracking",
    "-std=gnu11",
    "-w",
    "-fno-math-errno",
    "-ffp-contract=fast",
)
SANITIZE = (
    "-fsanitize=address,undefined,float-divide-by-zero,float-cast-overflow",
    "-fno-sanitize=float-divide-by-zero",
    "-fno-sanitize-recover=all",
)

pytestmark = [
    pytest.mark.skipif(CC is None, reason="no gcc"),
    pytest.mark.skipif("avx2" not in _compiler.machine().split(), reason="another processor"),
]

MAIN = """
#include <stdio.h>
#include <stdlib.h>
static void *get(FILE *f, size_t bytes) {
  void *p = malloc(bytes ? bytes : 1);
  if (fread(p, 1, bytes, f) != bytes) exit(3);
  return p;
}
int main(int argc, char **argv) {
  FILE *f = fopen(argv[1], "rb"), *g = fopen(argv[2], "wb");
  long *head = get(f, 5 * sizeof(long)), n = head[0];
  long *sizes = get(f, (head[1] + head[2]) * sizeof(long));
  double *p = get(f, head[3] * sizeof(double));
  const double *in[256];
  double *out[256];
  for (long k = 0; k < head[1]; ++k) in[k] = get(f, n * sizes[k] * sizeof(double));
  for (long k = 0; k < head[2]; ++k) {
    long size = sizes[head[1] + k];
    out[k] = size ? calloc(n * size, sizeof(double)) : 0;
  }
  long *rows = head[4] ? get(f, n * sizeof(long)) : 0;
  int *code = malloc(n * sizeof(int)), *iterations = malloc(n * sizeof(int));
  double *residual = malloc(n * sizeof(double));
  unsigned char *active = malloc(n);
  admat_kernel(n, in, out, p, rows, code, iterations, residual, active);
  for (long k = 0; k < head[2]; ++k)
    if (out[k]) fwrite(out[k], sizeof(double), n * sizes[head[1] + k], g), free(out[k]);
  double sum = 0;
  for (long i = 0; i < n; ++i) sum += code[i] + iterations[i] + residual[i] + active[i];
  if (sum == 0.125) puts("read all of it");
  fwrite(code, sizeof(int), n, g);
  for (long k = 0; k < head[1]; ++k) free((void *)in[k]);
  free(head), free(sizes), free(p), free(rows), free(code), free(iterations), free(residual);
  free(active);
  return fclose(f) | fclose(g);
}
"""


class Mixed(admat.ImplicitLaw):
    """Three unknowns or an elastic point; all kinds of sizes; exp, log, pow, tanh."""

    inputs = {"load": (3,), "heat": ()}  # noqa: RUF012
    outputs = {"flux": (5,), "rate": ()}  # noqa: RUF012
    a: object = (2.0, 3.0, 4.0)

    def initial_state(self):
        return {"x": jnp.zeros(3)}

    def elastic(self, step):
        return step.given["heat"] < 0

    def guess(self, step):
        return step.state["x"]

    def residual(self, x, step):
        load = step.given["load"]
        matrix = jnp.eye(3)[::-1] * self.a + 0.3 * jnp.outer(load, jnp.tanh(load))
        step_ = jnp.where(step.given["heat"] < 0, 0.0, 1.0)
        return matrix @ (x - step.state["x"]) + step_ * (0.1 * jnp.exp(x) - load)

    def finish(self, x, step):
        flux = jnp.concatenate([x, jnp.log(1 + x[:2] ** 2)])
        return {"flux": flux, "rate": (1 + x[0] ** 2) ** 1.3}, {"x": x}


def source_and_arguments(law, task):
    function = BatchKernel(law, backend="native")._functions._translate(task)
    return function.source(), function._arguments, function._results


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("native")


def built(folder, name, source, flags):
    c, program = folder / f"{name}.c", folder / name
    c.write_text(source + MAIN)
    subprocess.run([CC, *FLAGS, *flags, "-o", program, c, "-lm"], check=True)
    return program


def run(program, law, arguments, results, n, *, rows=False, prefix=()):
    """Results of a run as one array of numbers; a finding of a sanitizer is a failure."""
    rng = np.random.default_rng(n)
    given = [rng.normal(size=(n, *a.shape)) * 0.5 for a in arguments if a.per_point]
    if any(a.per_point and a.shape == () for a in arguments) and n > 4:
        given[0][3] = np.nan
    sizes = [int(np.prod(a.shape)) for a in arguments if a.per_point]
    status = ("code", "iterations", "residual", "active")
    sizes += [0 if r.kind in status else int(np.prod(r.shape)) for r in results]
    leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(law)]
    uniform = np.concatenate([*leaves, [0.5]])
    head = [n, len(given), len(results), len(uniform), int(rows)]
    order = rng.permutation(n).astype(np.int64)
    case, found = program.with_suffix(".in"), program.with_suffix(".out")
    with open(case, "wb") as file:
        for array in (np.array(head), np.array(sizes), uniform, *given):
            file.write(array.tobytes())
        file.write(order.tobytes() if rows else b"")
    done = subprocess.run(
        [*prefix, program, case, found], capture_output=True, text=True,
        env={"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    data = found.read_bytes()
    return np.frombuffer(data[: -4 * n]), np.frombuffer(data[-4 * n :], np.int32)


def usable(name):
    return NEEDS.get(name, set()) <= set(_compiler.machine().split())


@pytest.fixture
def sanitizers(tmp_path):
    """Compilers may come without their libraries, as in the container image."""
    (tmp_path / "probe.c").write_text("int main(void) { return 0; }\n")
    command = [CC, *SANITIZE, str(tmp_path / "probe.c"), "-o", str(tmp_path / "probe")]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this compiler has no sanitizers")


@pytest.mark.usefixtures("sanitizers")
@pytest.mark.parametrize("task", ["tangent", "pullback"])
def test_sanitizers_and_instruction_sets(task, folder):
    """No finding for any number of points, and the same numbers from all instruction sets."""
    law = Mixed()
    source, arguments, results = source_and_arguments(law, task)
    found = {}
    for name in filter(usable, ("avx512", "avx2", "generic")):
        program = built(folder, f"{task}-{name}", source, (*SETS[name], *SANITIZE))
        found[name] = [
            run(program, law, arguments, results, n, rows=rows)
            for n, rows in ((1, False), (7, True), (8, True), (19, False), (64, True))
        ]
    reference = found.pop("generic")
    assert (np.concatenate([code for _, code in reference]) == 0).mean() > 0.8
    for cases in found.values():
        for (values, code), (expected, same) in zip(cases, reference, strict=True):
            np.testing.assert_array_equal(code, same)
            np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind")
def test_valgrind(folder):
    """Nothing uninitialised decides about a branch or is written."""
    law = Mixed()
    source, arguments, results = source_and_arguments(law, "tangent")
    program = built(folder, "valgrind", source, SETS["avx2"])
    prefix = ("valgrind", "-q", "--error-exitcode=9")
    for n in (3, 13):
        run(program, law, arguments, results, n, rows=n == 13, prefix=prefix)
