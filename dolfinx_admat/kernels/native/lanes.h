/* One SIMD block of points: real lanes `v`, truth lanes `m`, and the functions that generated
   code uses. Three instruction sets; everything else is written once, on top of them.
   NaN is never hidden: comparisons with NaN are false, MAX and MIN return it. */
#include <math.h>
#include <string.h>

#if defined(__AVX512F__) && defined(__AVX512DQ__) && !defined(ADMAT_GENERIC)
#include <immintrin.h>
#define W 8
typedef __m512d v;
typedef __mmask8 m;
typedef long long vi __attribute__((vector_size(64)));
#define BC(x) _mm512_set1_pd(x)
#define ALL ((m)0xff)
#define NONE ((m)0)
#define LT(a, b) _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ)
#define LE(a, b) _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ)
#define EQ(a, b) _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ)
#define NE(a, b) _mm512_cmp_pd_mask(a, b, _CMP_NEQ_UQ)
#define AND(a, b) ((m)((a) & (b)))
#define OR(a, b) ((m)((a) | (b)))
#define NOT(a) ((m) ~(a))
#define ANY(a) ((a) != 0)
#define LANE(a, l) (((a) >> (l)) & 1)
#define SEL(c, a, b) _mm512_mask_blend_pd(c, b, a)
#define ONLY(c, a) _mm512_maskz_mov_pd(c, a)
#define SQRT(a) _mm512_sqrt_pd(a)
#define ABS(a) _mm512_abs_pd(a)
#define MAXR(a, b) _mm512_max_pd(a, b)
#define MINR(a, b) _mm512_min_pd(a, b)
#define ROUND(a, how) _mm512_roundscale_pd(a, how)
#define FMA(a, b, c) _mm512_fmadd_pd(a, b, c)
#elif defined(__AVX2__) && defined(__FMA__) && !defined(ADMAT_GENERIC)
#include <immintrin.h>
#define W 4
typedef __m256d v;
typedef __m256d m;
typedef long long vi __attribute__((vector_size(32)));
#define BC(x) _mm256_set1_pd(x)
#define ALL ((m)_mm256_set1_epi64x(-1))
#define NONE _mm256_setzero_pd()
#define LT(a, b) _mm256_cmp_pd(a, b, _CMP_LT_OQ)
#define LE(a, b) _mm256_cmp_pd(a, b, _CMP_LE_OQ)
#define EQ(a, b) _mm256_cmp_pd(a, b, _CMP_EQ_OQ)
#define NE(a, b) _mm256_cmp_pd(a, b, _CMP_NEQ_UQ)
#define AND(a, b) _mm256_and_pd(a, b)
#define OR(a, b) _mm256_or_pd(a, b)
#define NOT(a) _mm256_xor_pd(a, ALL)
#define ANY(a) (_mm256_movemask_pd(a) != 0)
#define LANE(a, l) ((_mm256_movemask_pd(a) >> (l)) & 1)
#define SEL(c, a, b) _mm256_blendv_pd(b, a, c)
#define ONLY(c, a) _mm256_and_pd(c, a)
#define SQRT(a) _mm256_sqrt_pd(a)
#define ABS(a) _mm256_andnot_pd(_mm256_set1_pd(-0.0), a)
#define MAXR(a, b) _mm256_max_pd(a, b)
#define MINR(a, b) _mm256_min_pd(a, b)
#define ROUND(a, how) _mm256_round_pd(a, (how) | _MM_FROUND_NO_EXC)
#define FMA(a, b, c) _mm256_fmadd_pd(a, b, c)
#else
#define W 2
typedef double v __attribute__((vector_size(16)));
typedef long long m __attribute__((vector_size(16)));
typedef m vi;
static inline v BC(double x) { return (v){x, x}; }
#define ALL ((m){-1, -1})
#define NONE ((m){0, 0})
#define LT(a, b) ((m)((a) < (b)))
#define LE(a, b) ((m)((a) <= (b)))
#define EQ(a, b) ((m)((a) == (b)))
#define NE(a, b) ((m)((a) != (b)))
#define AND(a, b) ((a) & (b))
#define OR(a, b) ((a) | (b))
#define NOT(a) (~(a))
static inline int ANY(m a) { return (a[0] | a[1]) != 0; }
#define LANE(a, l) ((a)[l] != 0)
static inline v SEL(m c, v a, v b) { return (v)((c & (m)a) | (~c & (m)b)); }
#define ONLY(c, a) ((v)((c) & (m)(a)))
static inline v SQRT(v a) { return (v){sqrt(a[0]), sqrt(a[1])}; }
static inline v ABS(v a) { return (v)((m)a & (m){0x7fffffffffffffffLL, 0x7fffffffffffffffLL}); }
static inline v MAXR(v a, v b) { return SEL(a > b, a, b); }
static inline v MINR(v a, v b) { return SEL(a < b, a, b); }
#define ROUND(a, how) ((v){ROUND1((a)[0], how), ROUND1((a)[1], how)})
#define _MM_FROUND_TO_NEAREST_INT 0
#define _MM_FROUND_TO_NEG_INF 1
#define _MM_FROUND_TO_POS_INF 2
static inline double ROUND1(double a, int how) {
  return how == 1 ? floor(a) : how == 2 ? ceil(a) : rint(a);
}
static inline v FMA(v a, v b, v c) { return a * b + c; }
#endif

#define GT(a, b) LT(b, a)
#define GE(a, b) LE(b, a)
#define BCM(x) ((x) ? ALL : NONE)
#define FLOOR(a) ROUND(a, _MM_FROUND_TO_NEG_INF)
#define CEIL(a) ROUND(a, _MM_FROUND_TO_POS_INF)
#define RINT(a) ROUND(a, _MM_FROUND_TO_NEAREST_INT)

static inline v MAX(v a, v b) { return SEL(EQ(a, a), MAXR(a, b), a); }
static inline v MIN(v a, v b) { return SEL(EQ(a, a), MINR(a, b), a); }
static inline v SIGN(v a) {
  return SEL(LT(a, BC(0.0)), BC(-1.0), SEL(LT(BC(0.0), a), BC(1.0), a));
}
#if W == 8
/* A division keeps the unit busy for 16 cycles; two Newton steps from 14 bits do not. Where they
   meet 0 * infinity the first value, 0 or infinity, is right. */
static inline v RCP(v a) {
  v y = _mm512_rcp14_pd(a), z = y;
  z = FMA(z, FMA(-a, z, BC(1.0)), z);
  z = FMA(z, FMA(-a, z, BC(1.0)), z);
  return SEL(EQ(z, z), z, y);
}
#else
static inline v RCP(v a) { return BC(1.0) / a; }
#endif
static inline m FINITE(v a) { return LE(ABS(a), BC(1.7976931348623157e308)); }

/* Where there are many of them, functions are called rather than written out again and again. */
#ifdef ADMAT_CALLS
#define MATH __attribute__((noinline))
#else
#define MATH inline
#endif

/* exp(x) = s (1 + p): s = 2^k, p = e^r - 1, k = round(x / ln 2), r = x - k ln 2, |r| < 0.347.
   Results below 1e-307 become 0, above 1.2e308 infinity. Taylor to r^13: remainder below 1e-17. */
#define EXP_MAGIC 6755399441055744.0
static inline v EXP_K(v x) {
  x = SEL(LT(x, BC(-746.0)), BC(-746.0), SEL(LT(BC(710.0), x), BC(710.0), x));
  return x * BC(1.4426950408889634) + BC(EXP_MAGIC);
}
static MATH v EXP_S(v x) {
  vi bits = ((vi)EXP_K(x) + 1023) << 52;
  return SEL(LT(x, BC(-708.0)), BC(0.0), (v)bits);
}
static MATH v EXP_P(v x) {
  x = SEL(LT(x, BC(-746.0)), BC(-746.0), SEL(LT(BC(710.0), x), BC(710.0), x));
  v k = EXP_K(x) - BC(EXP_MAGIC);
  v r = FMA(k, BC(-6.93147180369123816490e-01), x);
  r = FMA(k, BC(-1.90821492927058770002e-10), r);
  v r2 = r * r, r4 = r2 * r2;
  v a = FMA(r, BC(1.0 / 6), BC(0.5)), b = FMA(r, BC(1.0 / 120), BC(1.0 / 24));
  v c = FMA(r, BC(1.0 / 5040), BC(1.0 / 720)), d = FMA(r, BC(1.0 / 362880), BC(1.0 / 40320));
  v e = FMA(r, BC(1.0 / 39916800), BC(1.0 / 3628800));
  v f = FMA(r, BC(1.0 / 6227020800.0), BC(1.0 / 479001600));
  v q = FMA(FMA(r2, f, e), r4 * r4, FMA(FMA(r2, d, c), r4, FMA(r2, b, a)));
  return FMA(r2, q, r);
}
static inline v EXP_OF(v s, v p) { return s * (BC(1.0) + p); }
static inline v EXPM1_OF(v s, v p) {
  return SEL(LT(BC(1e300), s), s * (BC(1.0) + p), FMA(s, p, s - BC(1.0)));
}
static inline v EXP(v x) { return EXP_OF(EXP_S(x), EXP_P(x)); }
static inline v EXPM1(v x) { return EXPM1_OF(EXP_S(x), EXP_P(x)); }

/* log(x) = k ln 2 + log(1 + f), sqrt(1/2) < 1 + f < sqrt(2); log(1 + f) through s = f / (2 + f) and
   the series of atanh with the minimax coefficients of FDLIBM (Sun Microsystems, 1993). */
static MATH v LOG(v x) {
  m tiny = LT(x, BC(2.2250738585072014e-308));
  v scaled = SEL(tiny, x * BC(18014398509481984.0), x);
  vi bits = (vi)scaled, half = (vi)BC(0.70710678118654746172);
  vi k = (bits - half) >> 52;
  v f = (v)(bits - (k << 52)) - BC(1.0);
  v kd = (v)((vi)BC(EXP_MAGIC) + k) - BC(EXP_MAGIC);
  kd = kd - ONLY(tiny, BC(54.0));
  v s = f / (BC(2.0) + f), z = s * s, w = z * z;
  v odd = w * FMA(w, FMA(w, BC(1.531383769920937332e-01), BC(2.222219843214978396e-01)),
                  BC(3.999999999940941908e-01));
  v even = z * FMA(w, FMA(w, FMA(w, BC(1.479819860511658591e-01), BC(1.818357216161805012e-01)),
                          BC(2.857142874366239149e-01)), BC(6.666666666666735130e-01));
  v hfsq = BC(0.5) * f * f;
  v tail = FMA(s, hfsq + (odd + even), kd * BC(1.90821492927058770002e-10));
  v y = FMA(kd, BC(6.93147180369123816490e-01), f - (hfsq - tail));
  y = SEL(LT(BC(0.0), x), y, BC(NAN));
  y = SEL(EQ(x, BC(0.0)), BC(-INFINITY), y);
  return SEL(EQ(x, BC(INFINITY)), x, y);
}
static MATH v LOG1P(v x) {
  v u = BC(1.0) + x;
  v y = LOG(u) + (x - (u - BC(1.0))) / u; /* what rounding 1 + x has lost */
  return SEL(AND(LT(u, BC(INFINITY)), LT(BC(0.0), u)), y, LOG(u));
}
static MATH v POW(v a, v b) {
  v y = EXP(b * LOG(ABS(a)));
  m whole = EQ(RINT(b), b), odd = AND(whole, NE(RINT(b * BC(0.5)), b * BC(0.5)));
  y = SEL(LT(a, BC(0.0)), SEL(whole, SEL(odd, BC(0.0) - y, y), BC(NAN)), y);
  return SEL(OR(EQ(b, BC(0.0)), EQ(a, BC(1.0))), BC(1.0), y);
}
static MATH v TANH(v x) {
  v t = EXPM1(BC(-2.0) * ABS(x)), y = (BC(0.0) - t) / (BC(2.0) + t);
  return SEL(LT(x, BC(0.0)), BC(0.0) - y, y);
}

/* The rest lane by lane, from the C library. */
#define EACH(NAME, f)                                     \
  static inline v NAME(v a) {                             \
    double t[W];                                          \
    memcpy(t, &a, sizeof a);                              \
    for (int l = 0; l < W; ++l) t[l] = f(t[l]);           \
    memcpy(&a, t, sizeof a);                              \
    return a;                                             \
  }
#define EACH2(NAME, f)                                    \
  static inline v NAME(v a, v b) {                        \
    double t[W], u[W];                                    \
    memcpy(t, &a, sizeof a);                              \
    memcpy(u, &b, sizeof b);                              \
    for (int l = 0; l < W; ++l) t[l] = f(t[l], u[l]);     \
    memcpy(&a, t, sizeof a);                              \
    return a;                                             \
  }
EACH(SIN, sin) EACH(COS, cos) EACH(TAN, tan) EACH(ASIN, asin) EACH(ACOS, acos) EACH(ATAN, atan)
EACH(SINH, sinh) EACH(COSH, cosh) EACH(ASINH, asinh) EACH(ACOSH, acosh) EACH(ATANH, atanh)
EACH(CBRT, cbrt) EACH(EXP2, exp2) EACH(ERF, erf) EACH(ERFC, erfc)
EACH2(REM, fmod) EACH2(ATAN2, atan2)

/* Uniform numbers. */
static inline double fmax_nan(double a, double b) { return a > b || a != a ? a : b; }
static inline double fmin_nan(double a, double b) { return a < b || a != a ? a : b; }
static inline double sign1(double a) { return a < 0 ? -1.0 : a > 0 ? 1.0 : a; }

/* Points are rows of `size` numbers; lanes past the last point repeat it. A full block goes in
   pieces of four numbers through 4 x 4 transpositions; the last piece may overlap the one before. */
#if W > 2
static inline __attribute__((always_inline)) void TRANSPOSE(__m256d *q) {
  __m256d a = _mm256_unpacklo_pd(q[0], q[1]), b = _mm256_unpackhi_pd(q[0], q[1]);
  __m256d c = _mm256_unpacklo_pd(q[2], q[3]), d = _mm256_unpackhi_pd(q[2], q[3]);
  q[0] = _mm256_permute2f128_pd(a, c, 0x20), q[1] = _mm256_permute2f128_pd(b, d, 0x20);
  q[2] = _mm256_permute2f128_pd(a, c, 0x31), q[3] = _mm256_permute2f128_pd(b, d, 0x31);
}
#if W == 8
#define JOIN(low, high) _mm512_insertf64x4(_mm512_castpd256_pd512(low), high, 1)
#define HALF(x, h) _mm512_extractf64x4_pd(x, h)
#else
#define JOIN(low, high) (low)
#define HALF(x, h) (x)
#endif
#endif
static inline __attribute__((always_inline)) void LOAD(v *x, const double *p, const int size,
                                                       long first, int count) {
  if (size == 1 && count == W) {
    memcpy(x, p + first, sizeof *x);
    return;
  }
#if W > 2
  if (size >= 4 && count == W) {
    p += first * size;
#pragma GCC unroll 24
    for (int k = 0; k < size; k += 4) {
      const int c = k + 4 <= size ? k : size - 4;
      __m256d low[4], high[4];
#pragma GCC unroll 4
      for (int l = 0; l < 4; ++l) low[l] = _mm256_loadu_pd(p + l * size + c);
#pragma GCC unroll 4
      for (int l = 0; l < 4 && W == 8; ++l) high[l] = _mm256_loadu_pd(p + (l + 4) * size + c);
      TRANSPOSE(low);
      if (W == 8) TRANSPOSE(high);
#pragma GCC unroll 4
      for (int l = 0; l < 4; ++l) x[c + l] = JOIN(low[l], high[l]);
    }
    return;
  }
#endif
  for (int c = 0; c < size; ++c) {
    double t[W];
    for (int l = 0; l < W; ++l) t[l] = p[(first + (l < count ? l : count - 1)) * size + c];
    memcpy(&x[c], t, sizeof t);
  }
}
#if W > 2
/* A full block; `at` gives the place of lane l, a constant distance where the rows are in order. */
#define STORE_BLOCK(at)                                                                \
  for (int k = 0; k < size; k += 4) {                                                  \
    const int c = k + 4 <= size ? k : size - 4;                                        \
    __m256d low[4], high[4];                                                           \
    _Pragma("GCC unroll 4") for (int l = 0; l < 4; ++l) low[l] = HALF(x[c + l], 0),    \
                                                        high[l] = HALF(x[c + l], W / 8); \
    TRANSPOSE(low);                                                                    \
    if (W == 8) TRANSPOSE(high);                                                       \
    _Pragma("GCC unroll 4") for (int l = 0; l < 4; ++l) {                              \
      _mm256_storeu_pd(at(l) + c, low[l]);                                             \
      if (W == 8) _mm256_storeu_pd(at(l + 4) + c, high[l]);                            \
    }                                                                                  \
  }
#define IN_ORDER(l) (p + (l) * size)
#define BY_ROW(l) (p + rows[l] * size)
#endif
static inline __attribute__((always_inline)) void STORE(double *p, const v *x, const int size,
                                                        long first, int count, const long *rows) {
  if (rows)
    rows += first;
  else
    p += first * size;
  if (size == 1 && count == W && !rows) {
    memcpy(p, x, sizeof *x);
    return;
  }
#if W > 2
  if (size >= 4 && count == W) {
    if (rows) {
      STORE_BLOCK(BY_ROW)
    } else {
#pragma GCC unroll 24
      STORE_BLOCK(IN_ORDER)
    }
    return;
  }
#endif
  for (int c = 0; c < size; ++c) {
    double t[W];
    memcpy(t, &x[c], sizeof t);
    for (int l = 0; l < count; ++l) p[(rows ? rows[l] : l) * size + c] = t[l];
  }
}
typedef int status_lanes __attribute__((vector_size(4 * W)));
typedef unsigned char flag_lanes __attribute__((vector_size(W)));
static inline void STATUS(int *p, v x, int count) {
  status_lanes t = __builtin_convertvector(x, status_lanes);
  memcpy(p, &t, count * sizeof *p);
}
static inline void FLAGS(unsigned char *p, v x, int count) {
  for (int l = 0; l < count; ++l) p[l] = x[l] != 0;
}

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
