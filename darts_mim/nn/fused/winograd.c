/* Convolutions on a CPU by fewer products than define them: Winograd's minimal filtering [1].

   "Same" convolutions with kernels of 3 by 3 or 5 by 5. The grid is cut into tiles of `side` by
   `side` outputs, side = POINTS - kernel + 1, each of which depends on POINTS by POINTS inputs.
   Along an axis a tile is a product of polynomials: both factors are evaluated at POINTS points,
   multiplied there, and the product is read off. What is left between the evaluations is a matrix
   product over the channels for each of SQUARE pairs of points, so SQUARE products do for side *
   side * kernel * kernel. The points are 0, +-2/3, +-3/2 and infinity: of all sets of small ratios
   with both signs this one rounds least, up to four times what the definition does. Sums are of
   float32 in every type. An error is relative to the largest value of a tile: an infinite one makes
   all of its tile NaN.

   Tensors are dense with the channels innermost, and all numbers of channels multiples of 32.
   Weights are evaluated beforehand, to panels: [out / PANEL][SQUARE][in][PANEL]. TILES tiles are
   taken at a time, with CHANNELS channels, so that a slab of [SQUARE][TILES][CHANNELS] stays in the
   cache. No order of sums depends on `threads`, and none on the other samples of a batch but that
   of the weight's gradient.

   The file includes itself once for each type of inputs and outputs.

   [1] A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. */

#ifndef KERNEL
#include <omp.h>
#include <stddef.h>
#include <stdint.h>

#include "winograd.h"

int winograd_panel(void) { return PANEL; }
int winograd_slab(void) { return SLAB; }
int winograd_half_slab(void) { return HALF_SLAB; }

/* The grid cut into tiles. */
typedef struct {
    int64_t height, width, rows, columns, count; /* of tiles: along the axes, and of all samples */
    int64_t kernel;
} Grid;

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t quotient(int64_t a, int64_t b) { return (a + b - 1) / b; }

static Grid grid_of(int64_t B, int64_t height, int64_t width, int64_t kernel) {
    int64_t side = POINTS - kernel + 1;
    int64_t rows = quotient(height, side), columns = quotient(width, side);
    return (Grid){height, width, rows, columns, B * rows * columns, kernel};
}

/* Which cells of all samples lie in the square of `size` by `size`, whose first row and column lie
   `margin` before those of a tile's outputs; -1 for those outside of the grid. */
INLINE void cells_of(const Grid *grid, int64_t tile, int64_t size, int64_t margin, int64_t *cells) {
    int64_t side = POINTS - grid->kernel + 1;
    int64_t line = tile / grid->columns, sample = line / grid->rows;
    int64_t top = (line - sample * grid->rows) * side - margin;
    int64_t left = (tile - line * grid->columns) * side - margin;
    for (int64_t i = 0; i < size; i++)
        for (int64_t j = 0; j < size; j++) {
            int64_t row = top + i, column = left + j;
            int is_inside = row >= 0 && row < grid->height && column >= 0 && column < grid->width;
            cells[i * size + j] =
                is_inside ? (sample * grid->height + row) * grid->width + column : -1;
        }
}

/* Where in a weight the panel of some channels begins. */
INLINE int64_t panel_of(int64_t o, int64_t i, int64_t in) {
    return (o / PANEL * SQUARE * in + i) * PANEL;
}

/* How far the weights of a convolution are from each other along each axis. The first is that of
   the first tap: of kernels that are turned by half a turn, with strides below 0, the last one. */
typedef struct {
    int64_t out, in, row, column;
} Strides;

INLINE void kernels_to_points(int64_t size, const float *first, const Strides *strides,
                              float *values, int64_t step) {
    floats line[POINTS], halfway[SQUARE];
    for (int64_t column = 0; column < size; column++) {
        for (int64_t row = 0; row < size; row++) {
            const float *tap = first + row * strides->row + column * strides->column;
            float taps[LANES];
            for (int64_t lane = 0; lane < LANES; lane++) taps[lane] = tap[lane * strides->out];
            line[row] = load_float(taps);
        }
        evaluate_kernel(size, line, halfway + column, POINTS);
    }
    for (int64_t p = 0; p < POINTS; p++) {
        evaluate_kernel(size, halfway + p * POINTS, line, 1);
        for (int64_t q = 0; q < POINTS; q++) store_float(values + (p * POINTS + q) * step, line[q]);
    }
}

INLINE void points_to_kernels(int64_t size, const float *values, int64_t step, float *first,
                              const Strides *strides) {
    floats line[POINTS], halfway[SQUARE];
    for (int64_t p = 0; p < POINTS; p++) {
        for (int64_t q = 0; q < POINTS; q++) line[q] = load_float(values + (p * POINTS + q) * step);
        read_kernel(size, line, halfway + p, POINTS);
    }
    for (int64_t column = 0; column < size; column++) {
        read_kernel(size, halfway + column * POINTS, line, 1);
        for (int64_t row = 0; row < size; row++) {
            float *tap = first + row * strides->row + column * strides->column;
            for (int64_t lane = 0; lane < LANES; lane++) tap[lane * strides->out] = line[row][lane];
        }
    }
}

/* Evaluate a weight. */
void winograd_evaluate(const float *weight, const Strides *strides, float *panels, int64_t in,
                       int64_t out, int64_t kernel, int threads) {
#pragma omp parallel for collapse(2) num_threads(threads)
    for (int64_t o = 0; o < out; o += LANES)
        for (int64_t i = 0; i < in; i++) {
            const float *first = weight + o * strides->out + i * strides->in;
            float *values = panels + panel_of(o, i, in) + o % PANEL;
            if (kernel == 5)
                kernels_to_points(5, first, strides, values, in * PANEL);
            else
                kernels_to_points(3, first, strides, values, in * PANEL);
        }
}

/* Turn the gradient of an evaluated weight into that of the weight. */
void winograd_read(const float *panels, float *weight, const Strides *strides, int64_t in,
                   int64_t out, int64_t kernel, int threads) {
#pragma omp parallel for collapse(2) num_threads(threads)
    for (int64_t o = 0; o < out; o += LANES)
        for (int64_t i = 0; i < in; i++) {
            const float *values = panels + panel_of(o, i, in) + o % PANEL;
            float *first = weight + o * strides->out + i * strides->in;
            if (kernel == 5)
                points_to_kernels(5, values, in * PANEL, first, strides);
            else
                points_to_kernels(3, values, in * PANEL, first, strides);
        }
}

/* c, ROWS_AT_ONCE by PANEL, becomes a times b, or has it added; the sum is over `depth`. `ahead` is
   what will be read soon, AHEAD values for each of them; NULL for nothing. */
INLINE void multiply_block(int64_t depth, const float *a, int64_t a_row, int64_t a_column,
                           const float *b, int64_t b_row, float *c, int64_t c_row, int is_added,
                           const float *ahead) {
    floats sums[ROWS_AT_ONCE][VECTORS] = {0};
    for (int i = 0; is_added && i < ROWS_AT_ONCE; i++)
        for (int j = 0; j < PANEL; j += 16) __builtin_prefetch(c + i * c_row + j, 1);
    for (int64_t k = 0; k < depth; k++) {
        floats factors[VECTORS];
        if (ahead) __builtin_prefetch(ahead + k * AHEAD);
        for (int j = 0; j < VECTORS; j++) factors[j] = load_float(b + k * b_row + j * LANES);
        for (int i = 0; i < ROWS_AT_ONCE; i++)
            for (int j = 0; j < VECTORS; j++)
                sums[i][j] += a[i * a_row + k * a_column] * factors[j];
    }
    for (int i = 0; i < ROWS_AT_ONCE; i++)
        for (int j = 0; j < VECTORS; j++) {
            float *place = c + i * c_row + j * LANES;
            if (is_added) sums[i][j] += load_float(place);
            store_float(place, sums[i][j]);
        }
}

/* Multiply `count` tiles of inputs in a slab with a weight, which has `in` inputs in all. A weight
   is larger than the cache next to a core, so the blocks of a slab share out what comes next and
   fetch it while they compute; where the slab is not full, a part of it. */
static void multiply_by_weight(const float *values, const float *weight, int64_t in, int64_t n_in,
                               int64_t n_out, int64_t count, float *products, int is_added) {
    for (int64_t p = 0; p < SQUARE; p++)
        for (int64_t o = 0; o < n_out; o += PANEL) {
            const float *panel = weight + panel_of(o, p * in, in), *next = NULL;
            if (AHEAD && o + PANEL < n_out)
                next = panel + panel_of(PANEL, 0, in);
            else if (AHEAD && p + 1 < SQUARE)
                next = weight + panel_of(0, (p + 1) * in, in);
            for (int64_t t = 0; t < count; t += ROWS_AT_ONCE) {
                int64_t place = p * STRIDE + t * CHANNELS;
                multiply_block(n_in, values + place, CHANNELS, 1, panel, PANEL,
                               products + place + o, CHANNELS, is_added, next);
                if (next) next += n_in * AHEAD;
            }
        }
}

/* Add the products of inputs and gradients of outputs, at some of the points, to the gradient of a
   weight with `in` inputs. */
static void multiply_by_inputs(const float *values, const float *grads, int64_t from, int64_t to,
                               int64_t n_out, int64_t count, float *d_weight, int64_t in) {
    for (int64_t p = from; p < to; p++)
        for (int64_t o = 0; o < n_out; o += PANEL)
            for (int64_t i = 0; i < HALF; i += ROWS_AT_ONCE)
                multiply_block(count, values + p * HALF_STRIDE + i, 1, HALF,
                               grads + p * STRIDE + o, CHANNELS,
                               d_weight + panel_of(o, p * in + i, in), PANEL, 1, NULL);
}

#define JOIN(a, b) a##_##b
#define NAME(a, b) JOIN(a, b)
#define KERNEL(name) NAME(name, SUFFIX)
#define LOAD NAME(load, SUFFIX)
#define STORE NAME(store, SUFFIX)

#define SUFFIX float
#define TYPE float
#include "winograd.c"
#undef SUFFIX
#undef TYPE
#define SUFFIX bfloat16
#define TYPE uint16_t
#include "winograd.c"

#else

/* Evaluate `count` tiles of inputs, some channels of all `width`, into a slab with `row` channels. */
INLINE void KERNEL(inputs_to_slab)(const Grid *grid, const TYPE *x, int64_t width, int64_t channels,
                                   int64_t first, int64_t count, float *slab, int64_t row,
                                   int64_t stride) {
    for (int64_t t = 0; t < count; t++) {
        int64_t cells[SQUARE];
        cells_of(grid, first + t, POINTS, grid->kernel / 2, cells);
        for (int64_t c = 0; c < channels; c += LANES) {
            floats line[POINTS], halfway[SQUARE];
            float *place = slab + t * row + c;
            for (int j = 0; j < POINTS; j++) {
                const int64_t *column = cells + j;
                for (int i = 0; i < POINTS; i++) {
                    int64_t cell = column[i * POINTS];
                    line[i] = cell < 0 ? (floats){0} : LOAD(x + cell * width + c);
                }
                evaluate_inputs(line, 1, halfway + j, POINTS);
            }
            for (int i = 0; i < SQUARE; i += POINTS) {
                evaluate_inputs(halfway + i, 1, line, 1);
                for (int j = 0; j < POINTS; j++) store_float(place + (i + j) * stride, line[j]);
            }
        }
    }
}

/* Read the outputs of `count` tiles, some channels of all `width`, off a slab. */
INLINE void KERNEL(slab_to_outputs)(const Grid *grid, int64_t side, const float *slab, TYPE *y,
                                    int64_t width, int64_t channels, int64_t first, int64_t count) {
    for (int64_t t = 0; t < count; t++) {
        int64_t cells[SQUARE];
        cells_of(grid, first + t, side, 0, cells);
        for (int64_t c = 0; c < channels; c += LANES) {
            floats line[POINTS], halfway[SQUARE];
            const float *place = slab + t * CHANNELS + c;
            for (int j = 0; j < POINTS; j++) {
                for (int i = 0; i < POINTS; i++)
                    line[i] = load_float(place + (i * POINTS + j) * STRIDE);
                read_outputs(side, line, 1, halfway + j, POINTS);
            }
            for (int i = 0; i < side; i++) {
                read_outputs(side, halfway + i * POINTS, 1, line, 1);
                for (int j = 0; j < side; j++) {
                    int64_t cell = cells[i * side + j];
                    if (cell >= 0) STORE(y + cell * width + c, line[j]);
                }
            }
        }
    }
}

/* Evaluate the gradients of outputs of `count` tiles, some channels of all `width`, into a slab. */
INLINE void KERNEL(outputs_to_slab)(const Grid *grid, int64_t side, const TYPE *y, int64_t width,
                                    int64_t channels, int64_t first, int64_t count, float *slab) {
    for (int64_t t = 0; t < count; t++) {
        int64_t cells[SQUARE];
        cells_of(grid, first + t, side, 0, cells);
        for (int64_t c = 0; c < channels; c += LANES) {
            floats line[POINTS], halfway[SQUARE];
            float *place = slab + t * CHANNELS + c;
            for (int i = 0; i < side; i++) {
                for (int j = 0; j < side; j++) {
                    int64_t cell = cells[i * side + j];
                    line[j] = cell < 0 ? (floats){0} : LOAD(y + cell * width + c);
                }
                evaluate_outputs(side, line, 1, halfway + i * POINTS, 1);
            }
            for (int j = 0; j < POINTS; j++) {
                evaluate_outputs(side, halfway + j, POINTS, line, 1);
                for (int i = 0; i < POINTS; i++)
                    store_float(place + (i * POINTS + j) * STRIDE, line[i]);
            }
        }
    }
}

/* Convolve x (B, height, width, in) to y (B, height, width, out). `room` has space for 3 slabs of
   each thread. */
void KERNEL(winograd_convolve)(const TYPE *x, const float *weight, TYPE *y, float *room, int64_t B,
                               int64_t height, int64_t width, int64_t in, int64_t out,
                               int64_t kernel, int threads) {
    Grid grid = grid_of(B, height, width, kernel);
    if (!grid.count) return;
    int64_t tiles = TILES, n_chunks = quotient(out, CHANNELS);
    while (tiles > ROWS_AT_ONCE && quotient(grid.count, tiles) * n_chunks < threads) tiles /= 2;
    int64_t n_blocks = quotient(grid.count, tiles);
    /* where there are fewer blocks than threads, these share one, and each evaluates its inputs */
    int64_t per_group = quotient(n_chunks, least(n_chunks, quotient(threads, n_blocks)));
    int64_t n_groups = quotient(n_chunks, per_group);
    int is_kept = in <= 2 * CHANNELS;
#pragma omp parallel for collapse(2) num_threads(threads)
    for (int64_t block = 0; block < n_blocks; block++)
        for (int64_t group = 0; group < n_groups; group++) {
            float *slabs = room + omp_get_thread_num() * 3 * SLAB, *products = slabs + 2 * SLAB;
            int64_t first = block * tiles, count = least(tiles, grid.count - first);
            int64_t start = group * per_group * CHANNELS;
            int64_t stop = least(out, start + per_group * CHANNELS);
            for (int64_t o = start; o < stop; o += CHANNELS) {
                int64_t n_out = least(CHANNELS, stop - o);
                for (int64_t i = 0; i < in; i += CHANNELS) {
                    int64_t n_in = least(CHANNELS, in - i);
                    float *values = slabs + (is_kept ? i / CHANNELS * SLAB : 0);
                    if (o == start || !is_kept)
                        KERNEL(inputs_to_slab)(&grid, x + i, in, n_in, first, count, values,
                                               CHANNELS, STRIDE);
                    multiply_by_weight(values, weight + panel_of(o, i, in), in, n_in, n_out, count,
                                       products, i > 0);
                }
                if (kernel == 5)
                    KERNEL(slab_to_outputs)(&grid, 2, products, y + o, out, n_out, first, count);
                else
                    KERNEL(slab_to_outputs)(&grid, 4, products, y + o, out, n_out, first, count);
            }
        }
}

/* Add the gradient of the evaluated weight, in panels, for an input x and the gradient of the
   output. `room` has space for a slab of each thread, and for `n_halves` of HALF channels; these
   must be enough for all channels of x. */
void KERNEL(winograd_weight_gradient)(const TYPE *x, const TYPE *d_y, float *d_weight, float *room,
                                      int64_t n_halves, int64_t B, int64_t height, int64_t width,
                                      int64_t in, int64_t out, int64_t kernel, int threads) {
    Grid grid = grid_of(B, height, width, kernel);
    int64_t n_blocks = quotient(grid.count, TILES), per_block = in / HALF;
    int64_t at_once = n_halves / per_block;
    /* where there is less to do than threads, these share the points, and each evaluates d_y */
    int64_t n_parts = least(SQUARE, quotient(threads, quotient(out, CHANNELS) * per_block));
    float *all = room + threads * SLAB;
#pragma omp parallel num_threads(threads)
    for (int64_t start = 0; start < n_blocks; start += at_once) {
        int64_t stop = least(n_blocks, start + at_once);
#pragma omp for collapse(2)
        for (int64_t block = start; block < stop; block++)
            for (int64_t i = 0; i < in; i += HALF) {
                int64_t first = block * TILES, count = least(TILES, grid.count - first);
                float *values = all + ((block - start) * per_block + i / HALF) * HALF_SLAB;
                KERNEL(inputs_to_slab)(&grid, x + i, in, HALF, first, count, values, HALF,
                                       HALF_STRIDE);
            }
#pragma omp for collapse(3)
        for (int64_t o = 0; o < out; o += CHANNELS)
            for (int64_t i = 0; i < in; i += HALF)
                for (int64_t part = 0; part < n_parts; part++) {
                    float *grads = room + omp_get_thread_num() * SLAB;
                    int64_t from = part * SQUARE / n_parts, to = (part + 1) * SQUARE / n_parts;
                    int64_t n_out = least(CHANNELS, out - o);
                    for (int64_t block = start; block < stop; block++) {
                        int64_t first = block * TILES, count = least(TILES, grid.count - first);
                        const float *values =
                            all + ((block - start) * per_block + i / HALF) * HALF_SLAB;
                        if (kernel == 5)
                            KERNEL(outputs_to_slab)(&grid, 2, d_y + o, out, n_out, first, count,
                                                    grads);
                        else
                            KERNEL(outputs_to_slab)(&grid, 4, d_y + o, out, n_out, first, count,
                                                    grads);
                        multiply_by_inputs(values, grads, from, to, n_out, count,
                                           d_weight + panel_of(o, i, in), in);
                    }
                }
    }
}

#endif
