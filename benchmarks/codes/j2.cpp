// J2 plasticity with Voce hardening as an expert writes it by hand: the yardstick of the kernels.
//
// Radial return in Mandel notation with the consistent tangent in closed form (J.C. Simo, T.J.R.
// Hughes, Computational Inelasticity, 1998, box 3.2). Blocks of points in SIMD lanes; arrays are
// points-leading, (n, 6) and (n, 36). GCC or Clang vector extensions, any instruction set.
#include <cmath>
#include <cstdint>
#include <cstring>
#ifdef __AVX__
#include <immintrin.h>
#endif

namespace {

#ifdef __AVX512F__
constexpr int LANES = 8;  // doubles per vector
#else
constexpr int LANES = 4;
#endif
constexpr int VECTORS = 4;  // independent vectors per block hide the latency of divisions
constexpr int BLOCK = LANES * VECTORS;

typedef double Vec __attribute__((vector_size(8 * LANES)));
typedef long long Int __attribute__((vector_size(8 * LANES)));

struct Parameters {
  double mu, kappa, sigma_y, Q, b;
};

inline Vec fill(double x) { return Vec{} + x; }
inline Vec pick(Int test, Vec yes, Vec no) { return (Vec)((test & (Int)yes) | (~test & (Int)no)); }

// exp(x) for -700 < x <= 0: x = k log 2 + r, Taylor polynomial of degree 13 in |r| < 0.35.
inline Vec exp_negative(Vec x) {
  constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  x = pick(x < fill(-700.0), fill(-700.0), x);
  const Vec shifted = x * 1.4426950408889634 + magic;
  const Vec k = shifted - magic;
  const Vec r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
  const Vec r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
  const Vec a = (1.0 + r) + r2 * (0.5 + r * (1.0 / 6));
  const Vec b = (1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040));
  const Vec c = (1.0 / 40320 + r * (1.0 / 362880)) + r2 * (1.0 / 3628800 + r * (1.0 / 39916800));
  const Vec d = 1.0 / 479001600 + r * (1.0 / 6227020800.0);
  const Vec poly = (a + r4 * b) + r8 * (c + r4 * d);
  const Int exponent = (Int)shifted << 52;  // the low bits of `shifted` hold k
  return (Vec)((Int)poly + exponent);
}

inline Vec root(Vec x) {
  Vec y;
  for (int l = 0; l < LANES; ++l) y[l] = std::sqrt(x[l]);
  return y;
}

inline double largest(Vec x) {
  double top = x[0];
  for (int l = 1; l < LANES; ++l) top = x[l] > top ? x[l] : top;
  return top;
}

// Entry 6 j + k of a 6x6 matrix, a vector at a time: its row j, its column k, whether both are
// normal components, and whether j = k.
constexpr int GROUPS = (36 + LANES - 1) / LANES;
struct Entries {
  Int row[GROUPS], column[GROUPS];
  Vec normal[GROUPS], diagonal[GROUPS];

  Entries() {
    for (int i = 0; i < GROUPS * LANES; ++i) {
      const int j = i < 36 ? i / 6 : 0, k = i < 36 ? i % 6 : 0, group = i / LANES;
      row[group][i % LANES] = j;
      column[group][i % LANES] = k;
      normal[group][i % LANES] = j < 3 && k < 3;
      diagonal[group][i % LANES] = j == k;
    }
  }
};

// Past the cache where that is possible: the tangents of a batch are read much later.
inline void store(double* to, Vec x, int quads) {
#ifdef __AVX__
  if (reinterpret_cast<std::uintptr_t>(to) % 32 == 0) {
    alignas(64) double parts[LANES];
    std::memcpy(parts, &x, sizeof x);
    for (int i = 0; i < quads; ++i) _mm256_stream_pd(to + 4 * i, _mm256_load_pd(parts + 4 * i));
    return;
  }
#endif
  std::memcpy(to, &x, quads * 4 * sizeof(double));
}

// shear * 1 + bulk * 1 (x) 1 - bend * n (x) n
inline void write_tangent(const Entries& at, const double* n, double shear, double bulk,
                          double bend, double* tangent) {
  Vec low, high;  // n[0..7] in one or in two vectors
  std::memcpy(&low, n, sizeof low);
  std::memcpy(&high, n + 8 - LANES, sizeof high);
  for (int i = 0; i < GROUPS; ++i) {
    const Vec row = __builtin_shuffle(low, high, at.row[i]);
    const Vec column = __builtin_shuffle(low, high, at.column[i]);
    const Vec value = shear * at.diagonal[i] + bulk * at.normal[i] - (bend * row) * column;
    store(tangent + LANES * i, value, i < GROUPS - 1 || LANES == 4 ? LANES / 4 : 1);
  }
}

template <bool TANGENT>
void update(long points, const double* strain, const double* plastic, const double* p_old,
            double* stress, double* tangent, double* plastic_new, double* p_new,
            const Parameters& m) {
  const Entries at;
  const double three_mu = 3 * m.mu, root32 = std::sqrt(1.5), tolerance = 1e-12 * m.sigma_y;
  for (long start = 0; start < points; start += BLOCK) {
    const int count = points - start < BLOCK ? int(points - start) : BLOCK;
    alignas(64) double e[6][BLOCK], q[BLOCK], size[BLOCK], trace[BLOCK], dp[BLOCK], slope[BLOCK];
    for (int l = 0; l < BLOCK; ++l) {  // the last block is padded with its last point
      const long i = start + (l < count ? l : count - 1);
      for (int k = 0; k < 6; ++k) e[k][l] = strain[6 * i + k] - plastic[6 * i + k];
      q[l] = p_old[i];
    }
    Vec f[VECTORS], hardening[VECTORS], trial[VECTORS], increment[VECTORS], p[VECTORS];
    double worst = 0;
    for (int v = 0; v < VECTORS; ++v) {
      Vec c[6], square = {};
      for (int k = 0; k < 6; ++k) std::memcpy(&c[k], &e[k][v * LANES], sizeof(Vec));
      std::memcpy(&p[v], &q[v * LANES], sizeof(Vec));
      const Vec sum = c[0] + c[1] + c[2];
      for (int k = 0; k < 6; ++k) {
        if (k < 3) c[k] -= sum * (1.0 / 3);
        square += c[k] * c[k];
        std::memcpy(&e[k][v * LANES], &c[k], sizeof(Vec));
      }
      const Vec length = root(square);  // of the deviatoric trial strain
      trial[v] = (2 * m.mu * root32) * length;
      hardening[v] = m.Q * exp_negative(-m.b * p[v]);
      const Vec over = trial[v] - (m.sigma_y + m.Q - hardening[v]);
      f[v] = pick(over > fill(1e-10 * m.sigma_y), over, Vec{});
      increment[v] = Vec{};
      worst = std::fmax(worst, largest(f[v]));
      std::memcpy(&size[v * LANES], &length, sizeof(Vec));
      std::memcpy(&trace[v * LANES], &sum, sizeof(Vec));
    }
    for (int iteration = 0; worst > tolerance && iteration < 50; ++iteration) {
      worst = 0;
      for (int v = 0; v < VECTORS; ++v) {
        const Int active = f[v] != Vec{};
        increment[v] += f[v] / (three_mu + m.b * hardening[v]);
        hardening[v] = m.Q * exp_negative(-m.b * (p[v] + increment[v]));
        const Vec over =
            trial[v] - three_mu * increment[v] - (m.sigma_y + m.Q - hardening[v]);
        f[v] = pick(active, over, Vec{});
        worst = std::fmax(worst, largest(pick(f[v] < Vec{}, -f[v], f[v])));
      }
    }
    for (int v = 0; v < VECTORS; ++v) {
      std::memcpy(&dp[v * LANES], &increment[v], sizeof(Vec));
      const Vec modulus = three_mu + m.b * hardening[v];
      std::memcpy(&slope[v * LANES], &modulus, sizeof(Vec));
    }
    for (int l = 0; l < count; ++l) {
      const long i = start + l;
      const bool flows = dp[l] > 0;
      const double inverse = size[l] > 0 ? 1 / size[l] : 0;
      alignas(64) double n[8] = {};
      for (int k = 0; k < 6; ++k) n[k] = e[k][l] * inverse;
      const double reduction = root32 * dp[l];  // |plastic strain increment|
      const double shear = 2 * m.mu * (1 - (flows ? reduction * inverse : 0));
      const double bend =
          flows ? 6 * m.mu * m.mu / slope[l] - 2 * m.mu * reduction * inverse : 0;
      const double deviator = 2 * m.mu * (size[l] - reduction), pressure = m.kappa * trace[l];
      for (int k = 0; k < 6; ++k) stress[6 * i + k] = deviator * n[k] + (k < 3 ? pressure : 0.0);
      if constexpr (TANGENT)
        write_tangent(at, n, shear, m.kappa - shear / 3, bend, tangent + 36 * i);
      for (int k = 0; k < 6; ++k) plastic_new[6 * i + k] = plastic[6 * i + k] + reduction * n[k];
      p_new[i] = q[l] + dp[l];
    }
  }
}

}  // namespace

// E, nu, sigma_y, Q, b; no tangent if its pointer is null.
extern "C" void j2_update(long points, const double* strain, const double* plastic,
                          const double* p_old, double* stress, double* tangent,
                          double* plastic_new, double* p_new, const double* parameters) {
  const double E = parameters[0], nu = parameters[1];
  const Parameters m{E / (2 * (1 + nu)), E / (3 * (1 - 2 * nu)), parameters[2], parameters[3],
                     parameters[4]};
  if (tangent)
    update<true>(points, strain, plastic, p_old, stress, tangent, plastic_new, p_new, m);
  else
    update<false>(points, strain, plastic, p_old, stress, nullptr, plastic_new, p_new, m);
}
