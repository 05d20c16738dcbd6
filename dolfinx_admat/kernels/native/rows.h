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
/* The same past the caches: rows in order, whole cache lines one after the other. A large result is
   read much later, and what a normal store would fetch first is never used. `p` is 64-aligned. */
#if W > 2
static inline __attribute__((always_inline)) void STREAM(double *p, const v *x, const int size,
                                                         long first, int count) {
  double block[size * W] __attribute__((aligned(64)));
  STORE(block, x, size, 0, count, 0);
  p += first * size;
  if (count < W) {
    memcpy(p, block, count * size * sizeof *p);
    return;
  }
  for (int i = 0; i < size * W; i += W)
#if W == 8
    _mm512_stream_pd(p + i, _mm512_load_pd(block + i));
#else
    _mm256_stream_pd(p + i, _mm256_load_pd(block + i));
#endif
}
#define STREAMS(p, size, n, rows) (!(rows) && ((size_t)(p)&63) == 0 && (n) * (size) > (1 << 17))
#define STREAMED _mm_sfence()
#else
#define STREAM(p, x, size, first, count) STORE(p, x, size, first, count, 0)
#define STREAMS(p, size, n, rows) 0
#define STREAMED
#endif
typedef int status_lanes __attribute__((vector_size(4 * W)));
typedef unsigned char flag_lanes __attribute__((vector_size(W)));
static inline void STATUS(int *p, v x, int count) {
  status_lanes t = __builtin_convertvector(x, status_lanes);
  memcpy(p, &t, count * sizeof *p);
}
static inline void FLAGS(unsigned char *p, v x, int count) {
  for (int l = 0; l < count; ++l) p[l] = x[l] != 0;
}
