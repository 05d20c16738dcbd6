/* Adds the Jacobian of one material, cell by cell, to the arrays of a PETSc AIJ matrix.

   _element.py puts in front of this text, for one element, geometry, quadrature rule and pair of
   operators: the sizes and tables in capital letters, and the functions

     fold    C = det w L T R, the tangent between the distinct rows of L and columns of R
     right   m = C : gradients of the trial functions, for one row of C
     left    a += gradient of one test function : m, for one component j of the trial function

   Basis functions come in vectors of VECTOR lanes, so that all of it runs in SIMD registers. */

static inline double geometry(const double x[NODES][3], int q, double K[DIM][DIM])
{
  double J[DIM][DIM] = {{0.0}};
  for (int g = 0; g < NODES; ++g)
    for (int i = 0; i < DIM; ++i)
      for (int k = 0; k < DIM; ++k)
        J[i][k] += x[g][i] * GEOMETRY[q][k][g];
#if DIM == 1
  K[0][0] = 1.0 / J[0][0];
  return fabs(J[0][0]);
#elif DIM == 2
  const double det = J[0][0] * J[1][1] - J[0][1] * J[1][0], s = 1.0 / det;
  K[0][0] = s * J[1][1]; K[0][1] = -s * J[0][1];
  K[1][0] = -s * J[1][0]; K[1][1] = s * J[0][0];
  return fabs(det);
#else
  const double a = J[1][1] * J[2][2] - J[1][2] * J[2][1];
  const double b = J[1][2] * J[2][0] - J[1][0] * J[2][2];
  const double c = J[1][0] * J[2][1] - J[1][1] * J[2][0];
  const double det = J[0][0] * a + J[0][1] * b + J[0][2] * c, s = 1.0 / det;
  K[0][0] = s * a;
  K[0][1] = s * (J[0][2] * J[2][1] - J[0][1] * J[2][2]);
  K[0][2] = s * (J[0][1] * J[1][2] - J[0][2] * J[1][1]);
  K[1][0] = s * b;
  K[1][1] = s * (J[0][0] * J[2][2] - J[0][2] * J[2][0]);
  K[1][2] = s * (J[0][2] * J[1][0] - J[0][0] * J[1][2]);
  K[2][0] = s * c;
  K[2][1] = s * (J[0][1] * J[2][0] - J[0][0] * J[2][1]);
  K[2][2] = s * (J[0][0] * J[1][1] - J[0][1] * J[1][0]);
  return fabs(det);
#endif
}

/* The element matrix, A[a][i][j][b]: test function a, component i; trial function b, component j.
   `cell` is the row of the cell in the tangents' buffers, `variables` belongs to its points. */
static inline void element(vec A[BASIS][COMPONENTS][COMPONENTS][VECTORS],
                           const double *const *tangents, int64_t cell,
                           const double *variables, const double x[NODES][3])
{
  vec gradients[POINTS][DIRECTIONS][VECTORS], m[POINTS][ROWS][COMPONENTS][VECTORS];
  double K[DIM][DIM], det = 0.0;
  for (int q = 0; q < POINTS; ++q)
  {
    if (q == 0 || !AFFINE)
      det = geometry(x, q, K);
    for (int d = 0; d < DIM; ++d)
      for (int n = 0; n < VECTORS; ++n)
      {
        vec sum = K[0][d] * ((const vec *)DERIVATIVES[q][0])[n];
        for (int k = 1; k < DIM; ++k)
          sum += K[k][d] * ((const vec *)DERIVATIVES[q][k])[n];
        gradients[q][d][n] = sum;
      }
    if (DIRECTIONS > DIM)
      for (int n = 0; n < VECTORS; ++n)
        gradients[q][DIRECTIONS - 1][n] = ((const vec *)VALUES[q])[n];
    double C[ROWS][COLUMNS];
    fold(det * WEIGHTS[q], tangents, cell * POINTS + q, variables + q * VARIABLES, C);
    for (int r = 0; r < ROWS; ++r)
      right(C[r], gradients[q], m[q][r]);
  }
  for (int a = 0; a < BASIS; ++a)
    for (int j = 0; j < COMPONENTS; ++j)
    {
      vec sum[COMPONENTS][VECTORS] = {{{0.0}}};
      for (int q = 0; q < POINTS; ++q)
      {
        double g[DIRECTIONS];
        for (int d = 0; d < DIRECTIONS; ++d)
          g[d] = gradients[q][d][a / LANES][a % LANES];
        left(g, m[q], j, sum);
      }
      for (int i = 0; i < COMPONENTS; ++i)
        for (int n = 0; n < VECTORS; ++n)
          A[a][i][j][n] = sum[i][n];
    }
}

/* Where the entries go. A slot is the place of a block's first entry in the array of the diagonal
   part of this rank's rows, or ~slot in that of the off-diagonal part; for a row of another rank,
   in the array of ghosts. A row of blocks is `stride` entries long. `fixed` has a bit for each
   component with a Dirichlet condition. */
typedef struct
{
  double *diagonal, *offdiagonal, *ghosts;
  const int32_t *diagonal_stride, *offdiagonal_stride;
  const uint32_t *fixed;
  int32_t owned;
} target;

typedef struct
{
  const int32_t *cells, *rows; /* of the mesh; in the tangents' buffers */
  const int32_t *dofs, *nodes; /* of all cells of the mesh */
  const double *x;
  const double *const *tangents;
} source;

static inline void compute(vec A[BASIS][COMPONENTS][COMPONENTS][VECTORS], const source *s,
                           int64_t c, const double *variables)
{
  double x[NODES][3];
  const int32_t *node = s->nodes + (int64_t)s->cells[c] * NODES;
  for (int g = 0; g < NODES; ++g)
    for (int i = 0; i < 3; ++i)
      x[g][i] = s->x[3 * (int64_t)node[g] + i];
  element(A, s->tangents, s->rows[c], variables, x);
}

static void constrain(double A[BASIS][COMPONENTS][COMPONENTS][LANES * VECTORS],
                      const int32_t *dofs, const uint32_t *fixed)
{
  for (int a = 0; a < BASIS; ++a)
    for (int i = 0; i < COMPONENTS; ++i)
      if (fixed[dofs[a]] >> i & 1u)
      {
        memset(A[a][i], 0, sizeof A[a][i]);
        for (int b = 0; b < BASIS; ++b)
          for (int k = 0; k < COMPONENTS; ++k)
            A[b][k][i][a] = 0.0;
      }
}

/* Add the cells begin <= c < end; `variables` belongs to the first of them. */
void add(int64_t begin, int64_t end, const source *s, const double *variables,
         const int32_t *slots, const target *t)
{
  for (int64_t c = begin; c < end; ++c)
  {
    vec blocks[BASIS][COMPONENTS][COMPONENTS][VECTORS];
    double(*A)[COMPONENTS][COMPONENTS][LANES * VECTORS] = (void *)blocks;
    const int32_t *dofs = s->dofs + (int64_t)s->cells[c] * BASIS;
    const int32_t *slot = slots + c * BASIS * BASIS;
    compute(blocks, s, c, variables + (c - begin) * POINTS * VARIABLES);
    uint32_t any = 0;
    for (int a = 0; a < BASIS; ++a)
      any |= t->fixed[dofs[a]];
    if (any)
      constrain(A, dofs, t->fixed);
    for (int a = 0; a < BASIS; ++a)
    {
      const int32_t row = dofs[a];
      const int mine = row < t->owned;
      double *const near = mine ? t->diagonal : t->ghosts;
      const int64_t near_stride = mine ? t->diagonal_stride[row] : COMPONENTS;
      for (int b = 0; b < BASIS; ++b)
      {
        const int32_t place = slot[a * BASIS + b];
        double *to = place >= 0 ? near + place : t->offdiagonal + ~place;
        const int64_t stride = place >= 0 ? near_stride : t->offdiagonal_stride[row];
        for (int i = 0; i < COMPONENTS; ++i)
          for (int j = 0; j < COMPONENTS; ++j)
            to[i * stride + j] += A[a][i][j][b];
      }
    }
  }
}

/* b += (element matrix) d, over the listed cells only. */
void lift(int64_t count, const int64_t *which, const source *s, const double *variables,
          const double *d, double *b)
{
  for (int64_t n = 0; n < count; ++n)
  {
    vec blocks[BASIS][COMPONENTS][COMPONENTS][VECTORS];
    double(*A)[COMPONENTS][COMPONENTS][LANES * VECTORS] = (void *)blocks;
    const int32_t *dofs = s->dofs + (int64_t)s->cells[which[n]] * BASIS;
    compute(blocks, s, which[n], variables + n * POINTS * VARIABLES);
    for (int a = 0; a < BASIS; ++a)
      for (int i = 0; i < COMPONENTS; ++i)
      {
        double sum = 0.0;
        for (int j = 0; j < COMPONENTS; ++j)
          for (int e = 0; e < BASIS; ++e)
            sum += A[a][i][j][e] * d[COMPONENTS * (int64_t)dofs[e] + j];
        b[COMPONENTS * (int64_t)dofs[a] + i] += sum;
      }
  }
}
