/* Solve A X = B lane by lane with row scaling and partial pivoting; X replaces B. Slow, for what
   the unrolled elimination could not do. A singular system gives infinities or NaN. */
static __attribute__((noinline)) void PIVOTED(int n, int k, const v *A, v *B) {
  double a[n * n], b[n * k];
  for (int l = 0; l < W; ++l) {
    for (int i = 0; i < n * n; ++i) a[i] = ((const double *)&A[i])[l];
    for (int i = 0; i < n * k; ++i) b[i] = ((const double *)&B[i])[l];
    for (int i = 0; i < n; ++i) {
      double s = 0;
      for (int j = 0; j < n; ++j) s = fabs(a[i * n + j]) > s ? fabs(a[i * n + j]) : s;
      s = s > 0 ? 1 / s : 1;
      for (int j = 0; j < n; ++j) a[i * n + j] *= s;
      for (int j = 0; j < k; ++j) b[i * k + j] *= s;
    }
    for (int c = 0; c < n; ++c) {
      int best = c;
      for (int i = c + 1; i < n; ++i)
        if (fabs(a[i * n + c]) > fabs(a[best * n + c])) best = i;
      for (int j = 0; best != c && j < n; ++j) {
        double t = a[c * n + j];
        a[c * n + j] = a[best * n + j];
        a[best * n + j] = t;
      }
      for (int j = 0; best != c && j < k; ++j) {
        double t = b[c * k + j];
        b[c * k + j] = b[best * k + j];
        b[best * k + j] = t;
      }
      for (int i = c + 1; i < n; ++i) {
        double f = a[i * n + c] / a[c * n + c];
        if (f == 0) continue;
        for (int j = c; j < n; ++j) a[i * n + j] -= f * a[c * n + j];
        for (int j = 0; j < k; ++j) b[i * k + j] -= f * b[c * k + j];
      }
    }
    for (int i = n - 1; i >= 0; --i)
      for (int j = 0; j < k; ++j) {
        double t = b[i * k + j];
        for (int c = i + 1; c < n; ++c) t -= a[i * n + c] * b[c * k + j];
        b[i * k + j] = t / a[i * n + i];
      }
    for (int i = 0; i < n * k; ++i) ((double *)&B[i])[l] = b[i];
  }
}

/* The same for all lanes at once, in loops, with pivots (rows[c], columns[c]) in a given order. A is
   kept; what went wrong in a lane, SOLVED must find. */
static __attribute__((noinline)) void ELIMINATE(int n, int k, const int *rows, const int *columns,
                                                const v *A0, v *B) {
  v A[n * n], X[n * k], w;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) A[i * n + j] = A0[rows[i] * n + columns[j]];
    for (int j = 0; j < k; ++j) X[i * k + j] = B[rows[i] * k + j];
  }
  for (int c = 0; c < n; ++c) {
    const v *p = A + c * n, *q = X + c * k;
    w = RCP(p[c]);
    for (int i = c + 1; i < n; ++i) {
      v *a = A + i * n, *b = X + i * k, f = a[c] * w;
      if (!ANY(NE(f, BC(0.0)))) continue;
      for (int j = c + 1; j < n; ++j) a[j] -= f * p[j];
      for (int j = 0; j < k; ++j) b[j] -= f * q[j];
    }
  }
  for (int i = n - 1; i >= 0; --i) {
    const v *a = A + i * n;
    w = RCP(a[i]);
    for (int j = 0; j < k; ++j) {
      v t = X[i * k + j];
      for (int c = i + 1; c < n; ++c) t -= a[c] * X[c * k + j];
      X[i * k + j] = t * w;
    }
  }
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < k; ++j) B[columns[i] * k + j] = X[i * k + j];
}

/* Lanes in which A x = b holds up to round-off, |A x - b| <= 1e-12 (|A| |x| + |b|), for one
   combination of the k right-hand sides. */
static __attribute__((noinline)) m SOLVED(int n, int k, const v *A, const v *X, const v *B) {
  v x[n];
  m good = ALL;
  for (int j = 0; j < n; ++j) {
    x[j] = X[j * k];
    for (int c = 1; c < k; ++c) x[j] += X[j * k + c] * BC(1.0 + 0.37 * c);
  }
  for (int i = 0; i < n; ++i) {
    v r = BC(0.0) - B[i * k];
    for (int c = 1; c < k; ++c) r -= B[i * k + c] * BC(1.0 + 0.37 * c);
    v size = ABS(r);
    for (int j = 0; j < n; ++j) {
      v t = A[i * n + j] * x[j];
      r += t;
      size += ABS(t);
    }
    good = AND(good, LE(ABS(r), size * BC(1e-12)));
  }
  return good;
}

/* For a single unknown these are a few operations, which the compiler finds when they stand in
   place; for more they are called. */
#ifdef ADMAT_SCALAR
#define SHORT inline __attribute__((always_inline))
#else
#define SHORT __attribute__((noinline))
#endif

/* Row weights 1 / sum_j |J_ij| (1 where the sum is 0); returns the lanes where all are sound. */
static SHORT m WEIGHTS(int n, const v *J, v *w) {
  m sound = ALL;
  for (int i = 0; i < n; ++i) {
    v s = BC(0.0);
    for (int j = 0; j < n; ++j) s += ABS(J[i * n + j]);
    sound = AND(sound, AND(LT(BC(1e-300), s), LT(s, BC(1e300))));
    w[i] = RCP(SEL(LT(BC(0.0), s), s, BC(1.0)));
  }
  return sound;
}

/* Lanes where |r_i| <= sum_j |J_ij| (atol + rtol |x_j|) for all i. */
static SHORT m WITHIN(int n, const v *J, const v *r, const v *x, double atol,
                                          double rtol) {
  m good = ALL;
  for (int i = 0; i < n; ++i) {
    v bound = BC(0.0);
    for (int j = 0; j < n; ++j) bound += ABS(J[i * n + j]) * (BC(atol) + BC(rtol) * ABS(x[j]));
    good = AND(good, LE(ABS(r[i]), bound));
  }
  return good;
}

/* Lanes where J dx cancels: max |r_i| w_i < 1e-12 max (w_i sum_j |J_ij| |dx_j|). */
static SHORT m SINGULAR(int n, const v *J, const v *r, const v *w, const v *dx) {
  v small = BC(0.0), large = BC(0.0);
  for (int i = 0; i < n; ++i) {
    v s = BC(0.0);
    for (int j = 0; j < n; ++j) s += ABS(J[i * n + j]) * ABS(dx[j]);
    small = MAXR(ABS(r[i]) * w[i], small);
    large = MAXR(s * w[i], large);
  }
  return LT(small, large * BC(1e-12));
}
