"""The local Newton iteration of one block of points, in C.

The same method as ``implicit.solve``, arranged so that residual and Jacobian are evaluated once
per iteration and serve three purposes: the test of the step just taken, the next step, and, in
the last pass, the tangent, whose code stands inside the loop for that reason. Lanes that are
done keep their unknowns, so their results do not depend on their neighbours.

A lane starts in a quick mode: weights of the residual from the first pass, elimination in a fixed
order. Where a step fails in it, the lane repeats the step with care: fresh weights (as in
``implicit``) and pivoting.
"""

from collections.abc import Callable
from typing import Any

import jax

from dolfinx_admat.implicit import LocalStatus

from ._eliminate import UNROLLED, eliminate, find_factor, plan
from ._graph import REAL, Graph, Node, Region, Statement
from ._program import Program, flatten
from ._write import number


def jacobian_program(jaxpr: Any, avals: list[Any]) -> Program:
    """Residual and Jacobian, (x, operands) -> (n,), (n, n), of an open jaxpr."""
    constants = len(jaxpr.constvars)

    def both(x: jax.Array, *operands: Any) -> Any:
        def residual(x: jax.Array) -> Any:
            (r,) = jax.core.eval_jaxpr(jaxpr, list(operands[:constants]), x, *operands[constants:])
            return r, r

        jacobian, r = jax.jacfwd(residual, has_aux=True)(x)
        return r, jacobian

    return flatten(jax.make_jaxpr(both)(*avals))


class NewtonLoop(Statement):
    """The loop; its variables are the unknowns and what it reports."""

    def __init__(self, graph: Graph, start: list[Any], options: Any) -> None:
        super().__init__([*start, graph.lanes])
        self.start, self.options, self.lanes = start, options, graph.lanes
        self.loop = Region(graph.here, loop=True)
        self.post = Region(self.loop)
        self.step = Region(self.loop)
        before, graph.here = graph.here, self.loop
        self.x = [graph.variable(REAL, owner=self) for _ in start]
        report = [graph.variable(REAL, owner=self) for _ in range(3)]
        self.code, self.iterations, self.scaled = report
        graph.here = before
        self.r: list[Any] = []
        self.jacobian: Any = None
        self.dx: list[Any] | None = None  # None: solved by loops
        self.order: list[tuple[int, int]] = []

    def build(
        self,
        graph: Graph,
        evaluate: Callable[[list[Any]], tuple[Any, Any]],
        order: Callable[[Any, Any], tuple[list, int]],
        rest: Callable[[], None],
    ) -> None:
        """Make the contents: ``evaluate`` residual and Jacobian, then ``rest`` of the kernel."""
        with graph.inside(self.loop):
            r, self.jacobian = evaluate(list(self.x))
            self.r = list(r)
            n = len(self.r)
            self.order, count = order(r, self.jacobian)
            if n > 1 and count <= UNROLLED:
                plan(graph, self.jacobian, self.order)
            # The code after the loop first: what it solves with the Jacobian, the loop may reuse.
            with graph.inside(self.post):
                rest()
            with graph.inside(self.step):
                right = [graph.neg(a) for a in self.r]
                if n == 1:
                    self.dx = [graph.div(right[0], self.jacobian[0, 0])]
                elif count <= UNROLLED:
                    factor = find_factor(graph, self.jacobian, here=True)[0]
                    assert factor is not None
                    self.dx = factor.solve(graph, right)
        self.reads += [a for a in (*self.r, *self.jacobian.ravel()) if isinstance(a, Node)]
        self.reads += [a for a in self.dx or [] if isinstance(a, Node)]
        graph.add_statement(self)

    def write(self, writer: Any) -> None:
        """Emit C."""
        n, w = len(self.start), writer.line
        x = [a.text for a in self.x]
        code, iterations, scaled = self.code.text, self.iterations.text, self.scaled.text
        for name, start in zip(x, self.start, strict=True):
            w(f"v {name} = {writer.real(start)};")
        w(f"v {code} = BC({float(LocalStatus.MAX_ITERATIONS)}), {iterations} = BC(0.0);")
        w(f"v {scaled} = BC(0.0);")
        with writer.braces():
            w(f"v b[{n}], d[{n}], w[{n}], merit0 = BC(0.0), t = BC(1.0), halvings = BC(0.0);")
            w(f"for (int i = 0; i < {n}; ++i) b[i] = d[i] = BC(0.0), w[i] = BC(1.0);")
            w(f"m todo = {writer.mask(self.lanes)}, tiny = NONE;")
            # `careful` lanes have had trouble; `again` ones repeat their last step.
            w("m careful = NONE, again = NONE;")
            with writer.braces("for (int pass = 0;; ++pass)"):
                writer.region(self.loop)
                w("v r[] = {" + ", ".join(writer.real(a) for a in self.r) + "};")
                w("v size = BC(0.0), merit = BC(0.0), worst = BC(0.0), sum = BC(0.0);")
                for name in x:
                    w(f"size = MAXR(ABS({name}), size); sum = sum + {name};")
                w(f"for (int i = 0; i < {n}; ++i) {{ v q = r[i] * w[i]; sum += r[i]; "
                  "merit += q * q; worst = MAXR(ABS(q), worst); }")  # fmt: skip
                w("m finite = FINITE(sum), go = todo, back = NONE, spoiled = NONE;")
                # Only near a solution is the full test worth its price.
                o = self.options
                bound = f"(BC({number(o.atol)}) + BC({number(o.rtol)}) * size)"
                w(f"m near = AND(todo, LE(worst, BC(1e3) * {bound}));")
                w(f"v J[{n * n}];")
                always = " || 1" if self.dx is None else ""
                with writer.braces(f"if (pass == 0 || ANY(careful) || ANY(near){always})"):
                    for i, value in enumerate(self.jacobian.ravel()):
                        w(f"J[{i}] = {writer.real(value)};")
                with writer.braces("if (pass > 0)"):
                    self._test(writer, x)
                with writer.braces("else"):
                    w("m zero = ALL;")
                    w(f"for (int i = 0; i < {n}; ++i) zero = AND(zero, EQ(r[i], BC(0.0)));")
                    w(f"{code} = SEL(zero, BC(0.0), SEL(finite, {code}, "
                      f"BC({float(LocalStatus.NOT_FINITE)})));")  # fmt: skip
                    w("go = todo = AND(todo, AND(NOT(zero), finite));")
                with writer.braces("if (!ANY(todo) && !ANY(spoiled))"):
                    writer.region(self.post)
                    w("break;")
                w("again = NONE;")
                self._advance(writer, x)

    def _test(self, writer: Any, x: list[str]) -> None:
        """Judge the step that led here: accepted, too long, converged, failed."""
        o, n, w = self.options, len(x), writer.line
        code, iterations, scaled = self.code.text, self.iterations.text, self.scaled.text
        w("m ok = OR(tiny, LE(merit, (BC(1.0) - BC(2e-4) * t) * merit0));")
        w(f"ok = OR(ok, LE(BC({float(o.max_halvings)}), halvings));")
        w("m tested = AND(todo, NOT(again)), accepted = AND(tested, ok), converged = tiny;")
        w("back = AND(tested, NOT(ok));")
        w(f"if (ANY(near)) {{ v xs[] = {{{', '.join(x)}}}; converged = OR(converged, "
          f"AND(near, WITHIN({n}, J, r, xs, {number(o.atol)}, {number(o.rtol)}))); }}")  # fmt: skip
        w("m good = AND(accepted, finite);")
        w(f"{iterations} = {iterations} + ONLY(accepted, BC(1.0));")
        w(f"{scaled} = SEL(good, worst, {scaled});")
        w("spoiled = AND(accepted, NOT(finite));")
        w(f"{code} = SEL(AND(good, converged), BC(0.0), {code});")
        with writer.braces("if (ANY(spoiled))"):
            w(f"{code} = SEL(spoiled, BC({float(LocalStatus.NOT_FINITE)}), {code});")
            for i, name in enumerate(x):
                w(f"{name} = SEL(spoiled, b[{i}], {name});")
        w("go = AND(good, NOT(converged));")
        w(f"go = OR(again, AND(go, LT({iterations}, BC({float(o.max_iterations)}))));")
        w("todo = OR(go, back);")

    def _advance(self, writer: Any, x: list[str]) -> None:
        """The next trial unknowns of all lanes."""
        o, n, w = self.options, len(x), writer.line
        code = self.code.text
        with writer.braces("if (ANY(back))"):
            # At first, go back to where the step began and take it again, with care.
            w("m fresh = AND(back, NOT(careful)), shorter = AND(back, careful);")
            w("t = SEL(shorter, BC(0.5) * t, t);")
            w("halvings = halvings + ONLY(shorter, BC(1.0));")
            for i, name in enumerate(x):
                w(f"{name} = SEL(fresh, b[{i}], SEL(shorter, b[{i}] + t * d[{i}], {name}));")
            w("careful = OR(careful, fresh); again = fresh; tiny = AND(tiny, NOT(back));")
        with writer.braces("if (pass == 0 || ANY(AND(go, careful)))"):
            w(f"v weights[{n}], q, total = BC(0.0);")
            w(f"m sound = WEIGHTS({n}, J, weights);")
            w("m renew = AND(go, OR(careful, BCM(pass == 0)));")
            w("careful = OR(careful, AND(renew, NOT(sound)));")
            w(f"for (int i = 0; i < {n}; ++i) w[i] = SEL(renew, weights[i], w[i]), "
              "q = r[i] * w[i], total += q * q;")  # fmt: skip
            w("merit = SEL(renew, total, merit);")
        w(f"v dx[{n}], longest = BC(0.0);")
        if self.dx is None:
            w(f"for (int i = 0; i < {n}; ++i) dx[i] = BC(0.0) - r[i];")
            w(f"{eliminate(self.order, 1)}J, dx);")
        else:
            with writer.braces():
                writer.region(self.step)
                for i, value in enumerate(self.dx):
                    w(f"dx[{i}] = {writer.real(value)};")
        if n > 1:
            with writer.braces("if (ANY(AND(go, careful)))"):
                w(f"v slow[{n}];")
                w(f"for (int i = 0; i < {n}; ++i) slow[i] = BC(0.0) - r[i];")
                w(f"PIVOTED({n}, 1, J, slow);")
                w(f"for (int i = 0; i < {n}; ++i) dx[i] = SEL(careful, slow[i], dx[i]);")
        w(f"for (int i = 0; i < {n}; ++i) longest = MAXR(longest, ABS(dx[i]));")
        # J dx may have cancelled (a singular matrix), or the fixed order was a bad one.
        w("m suspect = AND(go, NOT(LE(BC(1e-24) * longest * longest, merit)));")
        with writer.braces("if (ANY(suspect))"):
            w("m first = AND(suspect, NOT(careful)), singular = AND(suspect, careful);")
            with writer.braces("if (ANY(singular))"):
                w(f"singular = AND(singular, SINGULAR({n}, J, r, w, dx));")
                w(f"{code} = SEL(singular, BC({float(LocalStatus.NOT_FINITE)}), {code});")
                w("todo = AND(todo, NOT(singular));")
            w("careful = OR(careful, first); again = OR(again, first);")
            w("go = AND(go, NOT(OR(first, singular)));")
        w("merit0 = SEL(go, merit, merit0);")
        w("t = SEL(go, BC(1.0), t);")
        w("halvings = SEL(go, BC(0.0), halvings);")
        for i, name in enumerate(x):
            w(f"d[{i}] = SEL(go, dx[{i}], d[{i}]); b[{i}] = SEL(go, {name}, b[{i}]);")
            w(f"{name} = {name} + ONLY(go, dx[{i}]);")
        # A correction of the size of round-off is the last one.
        bound = f"BC({number(o.atol)}) + BC({number(o.xtol)}) *"
        w(f"tiny = OR(AND(tiny, NOT(go)), AND(go, LE(longest, {bound} size)));")
        with writer.braces("if (ANY(AND(tiny, go)))"):
            for i in range(n):
                w(f"tiny = AND(tiny, OR(NOT(go), LE(ABS(d[{i}]), {bound} ABS(b[{i}]))));")
