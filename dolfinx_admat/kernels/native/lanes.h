/* One SIMD block of points: real lanes `v`, truth lanes `m`, and the functions that generated
   code uses. Three instruction sets; everything else is written once, on top of them.
   NaN is never hidden: comparisons with NaN are false, MAX and MIN return it. */
#include <math.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif
/* Short code takes the time to be compiled well: 3 to 8 % faster, for a third more time. */
#if defined(ADMAT_SHORT) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

#if defined(__AVX512F__) && defined(__AVX512DQ__) && !defined(ADMAT_GENERIC)
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
#define SEL(c, a, b) _mm512_mask_blend_pd(c, b, a)
#define ONLY(c, a) _mm512_maskz_mov_pd(c, a)
#define SQRT(a) _mm512_sqrt_pd(a)
#define ABS(a) _mm512_abs_pd(a)
#define MAXR(a, b) _mm512_max_pd(a, b)
#define MINR(a, b) _mm512_min_pd(a, b)
#define ROUND(a, how) _mm512_roundscale_pd(a, how)
#define FMA(a, b, c) _mm512_fmadd_pd(a, b, c)
#elif defined(__AVX2__) && defined(__FMA__) && !defined(ADMAT_GENERIC)
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
