/* The block structure of a PETSc AIJ matrix: see _blocks.py. Columns of a row are sorted. */
#include <stdint.h>

/* Global column indices of all rows of a matrix whose blocks have these local columns. */
void expand(int64_t rows, int32_t size, const int64_t *offsets, const int32_t *columns,
            const int64_t *names, INDEX *starts, INDEX *expanded)
{
  int64_t n = 0;
  starts[0] = 0;
  for (int64_t r = 0; r < rows; ++r)
    for (int32_t i = 0; i < size; ++i)
    {
      for (int64_t k = offsets[r]; k < offsets[r + 1]; ++k)
        for (int32_t j = 0; j < size; ++j)
          expanded[n++] = (INDEX)(names[columns[k]] * size + j);
      starts[r * size + i + 1] = (INDEX)n;
    }
}

/* The place of each pair of basis functions of some cells; returns how many have none. */
int64_t find(int64_t cells, const int32_t *cell, int32_t basis, const int32_t *dofs,
             const int64_t *offsets, const int32_t *columns, const int32_t *places, int32_t *slots)
{
  int64_t missing = 0;
  for (int64_t c = 0; c < cells; ++c)
  {
    const int32_t *d = dofs + (int64_t)cell[c] * basis;
    for (int32_t a = 0; a < basis; ++a)
      for (int32_t b = 0; b < basis; ++b)
      {
        int64_t low = offsets[d[a]], high = offsets[d[a] + 1];
        const int64_t end = high;
        while (low < high)
        {
          const int64_t middle = (low + high) / 2;
          if (columns[middle] < d[b])
            low = middle + 1;
          else
            high = middle;
        }
        if (low < end && columns[low] == d[b])
          *slots++ = places[low];
        else
        {
          *slots++ = 0;
          ++missing;
        }
      }
  }
  return missing;
}

/* Add blocks that another rank has computed. */
void receive(int64_t count, int32_t size, const int32_t *rows, const int32_t *slots,
             const double *blocks, double *diagonal, double *offdiagonal,
             const int32_t *diagonal_stride, const int32_t *offdiagonal_stride)
{
  for (int64_t n = 0; n < count; ++n)
  {
    const int32_t place = slots[n];
    double *to = place >= 0 ? diagonal + place : offdiagonal + ~place;
    const int64_t stride = (place >= 0 ? diagonal_stride : offdiagonal_stride)[rows[n]];
    for (int32_t i = 0; i < size; ++i)
      for (int32_t j = 0; j < size; ++j)
        to[i * stride + j] += *blocks++;
  }
}
