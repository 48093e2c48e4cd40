/* Convolutions on a CPU by fewer products than define them: Winograd's minimal filtering [1].

   "Same" convolutions with kernels of 3 by 3 or 5 by 5. The grid is cut into tiles of `side` by
   `side` outputs, side = POINTS - kernel + 1, each of which depends on POINTS by POINTS inputs.
   Along an axis a tile is a product of polynomials: both factors are evaluated at POINTS points,
   multiplied there, and the product is read off. What is left between the evaluations is a matrix
   product over the channels for each of SQUARE pairs of points, so SQUARE products do for side *
   side * kernel * kernel. The points are 0, +-2/3, +-3/2 and infinity: of all sets that are
   symmetric ratios of small integers this one rounds least, up to four times what the definition
   does (benchmarks/convolutions.py). Sums are of float32 in every type.

   Tensors are dense with the channels innermost, and all numbers of channels multiples of 32.
   Weights are evaluated beforehand, to panels: [out / PANEL][SQUARE][in][PANEL]. TILES tiles are
   taken at a time, with CHANNELS channels, so that a slab of [SQUARE][TILES][CHANNELS] stays in the
   cache. No order of sums depends on `threads`, and none on the other samples of a batch but that
   of the weight's gradient.

   The file includes itself once for each type of inputs and outputs.

   [1] A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. */

#ifndef KERNEL
#include <omp.h>
#include <stdint.h>

#if defined(__AVX512F__)
enum { LANES = 16, ROWS_AT_ONCE = 8 };
#elif defined(__AVX__)
enum { LANES = 8, ROWS_AT_ONCE = 4 };
#else
enum { LANES = 4, ROWS_AT_ONCE = 4 };
#endif
enum { VECTORS = 2, PANEL = VECTORS * LANES, POINTS = 6, SQUARE = POINTS * POINTS, HALF = 32 };
/* 16 values more than a power of 2, so that points do not share their place in the cache */
enum { STRIDE = TILES * CHANNELS + 16, SLAB = SQUARE * STRIDE };
enum { HALF_STRIDE = TILES * HALF + 16, HALF_SLAB = SQUARE * HALF_STRIDE };
_Static_assert(HALF % PANEL == 0 && CHANNELS % HALF == 0 && TILES % ROWS_AT_ONCE == 0, "sizes");

typedef float floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
#define INLINE static inline __attribute__((always_inline))

int winograd_panel(void) { return PANEL; }

INLINE floats load_float(const float *x) { return *(const floats *)x; }
INLINE void store_float(float *x, floats value) { *(floats *)x = value; }

INLINE floats load_bfloat16(const uint16_t *x) {
    return (floats)(__builtin_convertvector(*(const halves *)x, words) << 16);
}

/* Round to the nearest, to even from the middle; NaN keeps a bit of its own. */
INLINE void store_bfloat16(uint16_t *x, floats value) {
    words wide = (words)value, is_nan = (words)(value != value);
    words rounded = (wide + 0x7fffu + ((wide >> 16) & 1u)) >> 16;
    *(halves *)x = __builtin_convertvector((rounded & ~is_nan) | (0x7fc0u & is_nan), halves);
}

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

/* The points, but for 0, infinity and the signs, and their squares; the product of both is 1. */
#define POINT_A (2.0f / 3.0f)
#define POINT_B 1.5f
#define A2 (4.0f / 9.0f)
#define B2 (9.0f / 4.0f)

/* Inputs of a tile along an axis to the points: the transposed of reading off the product. */
INLINE void evaluate_inputs(const floats *x, int x_step, floats *values, int step) {
    floats x1 = x[x_step], x2 = x[2 * x_step], x3 = x[3 * x_step], x4 = x[4 * x_step];
    floats even_a = x4 - B2 * x2, odd_a = POINT_A * (x3 - B2 * x1);
    floats even_b = x4 - A2 * x2, odd_b = POINT_B * (x3 - A2 * x1);
    values[0] = x[0] - (A2 + B2) * x2 + x4;
    values[step] = even_a + odd_a;
    values[2 * step] = even_a - odd_a;
    values[3 * step] = even_b + odd_b;
    values[4 * step] = even_b - odd_b;
    values[5 * step] = x1 - (A2 + B2) * x3 + x[5 * x_step];
}

/* Values at the points to outputs along an axis: output j is the sum of values times point^j. */
INLINE void read_outputs(int64_t side, const floats *values, int step, floats *y, int y_step) {
    floats even_a = values[step] + values[2 * step], odd_a = values[step] - values[2 * step];
    floats even_b = values[3 * step] + values[4 * step], odd_b = values[3 * step] - values[4 * step];
    y[0] = values[0] + even_a + even_b;
    y[y_step] = POINT_A * odd_a + POINT_B * odd_b;
    if (side == 4) {
        y[2 * y_step] = A2 * even_a + B2 * even_b;
        y[3 * y_step] = POINT_A * A2 * odd_a + POINT_B * B2 * odd_b;
    }
    y[(side - 1) * y_step] += values[5 * step];
}

/* Gradients of outputs along an axis to those of the values at the points: the transposed. */
INLINE void evaluate_outputs(int64_t side, const floats *y, int y_step, floats *values, int step) {
    floats even_a = y[0], odd_a = POINT_A * y[y_step];
    floats even_b = y[0], odd_b = POINT_B * y[y_step];
    if (side == 4) {
        even_a += A2 * y[2 * y_step], odd_a += POINT_A * A2 * y[3 * y_step];
        even_b += B2 * y[2 * y_step], odd_b += POINT_B * B2 * y[3 * y_step];
    }
    values[0] = y[0];
    values[step] = even_a + odd_a;
    values[2 * step] = even_a - odd_a;
    values[3 * step] = even_b + odd_b;
    values[4 * step] = even_b - odd_b;
    values[5 * step] = y[(side - 1) * y_step];
}

/* What is left of the interpolation between the points, half of it for each sign. */
#define SCALE_A (0.5f / (A2 * (A2 - B2)))
#define SCALE_B (0.5f / (B2 * (B2 - A2)))

/* A kernel along an axis to the points. */
INLINE void evaluate_kernel(int64_t size, const floats *x, floats *values, int step) {
    floats even_a = x[0] + A2 * x[2], odd_a = POINT_A * x[1];
    floats even_b = x[0] + B2 * x[2], odd_b = POINT_B * x[1];
    if (size == 5) {
        even_a += A2 * A2 * x[4], odd_a += POINT_A * A2 * x[3];
        even_b += B2 * B2 * x[4], odd_b += POINT_B * B2 * x[3];
    }
    values[0] = x[0];
    values[step] = SCALE_A * (even_a + odd_a);
    values[2 * step] = SCALE_A * (even_a - odd_a);
    values[3 * step] = SCALE_B * (even_b + odd_b);
    values[4 * step] = SCALE_B * (even_b - odd_b);
    values[5 * step] = x[size - 1];
}

/* Gradients of values at the points to that of a kernel along an axis: the transposed. */
INLINE void read_kernel(int64_t size, const floats *values, floats *x, int step) {
    floats even_a = SCALE_A * (values[1] + values[2]), odd_a = SCALE_A * (values[1] - values[2]);
    floats even_b = SCALE_B * (values[3] + values[4]), odd_b = SCALE_B * (values[3] - values[4]);
    x[0] = values[0] + even_a + even_b;
    x[step] = POINT_A * odd_a + POINT_B * odd_b;
    x[2 * step] = A2 * even_a + B2 * even_b;
    if (size == 5) {
        x[3 * step] = POINT_A * A2 * odd_a + POINT_B * B2 * odd_b;
        x[4 * step] = A2 * A2 * even_a + B2 * B2 * even_b;
    }
    x[(size - 1) * step] += values[5];
}

/* Where the weights of a convolution lie: how far from each other along each of their axes. */
typedef struct {
    int64_t out, in, row, column;
} Strides;

INLINE void weight_to_panels(int64_t size, const float *weight, const Strides *far, float *panels,
                             int64_t in, int64_t n_panels, int threads) {
#pragma omp parallel for collapse(2) num_threads(threads)
    for (int64_t panel = 0; panel < n_panels; panel++)
        for (int64_t i = 0; i < in; i++)
            for (int64_t j = 0; j < PANEL; j += LANES) {
                const float *first = weight + (panel * PANEL + j) * far->out + i * far->in;
                floats line[POINTS], halfway[SQUARE];
                for (int64_t column = 0; column < size; column++) {
                    for (int64_t row = 0; row < size; row++)
                        for (int64_t lane = 0; lane < LANES; lane++)
                            line[row][lane] =
                                first[lane * far->out + row * far->row + column * far->column];
                    evaluate_kernel(size, line, halfway + column, POINTS);
                }
                for (int64_t p = 0; p < POINTS; p++) {
                    evaluate_kernel(size, halfway + p * POINTS, line, 1);
                    for (int64_t q = 0; q < POINTS; q++) {
                        int64_t place = (panel * SQUARE + p * POINTS + q) * in + i;
                        store_float(panels + place * PANEL + j, line[q]);
                    }
                }
            }
}

INLINE void panels_to_weight(int64_t size, const float *panels, float *weight, const Strides *far,
                             int64_t in, int64_t n_panels, int threads) {
#pragma omp parallel for collapse(2) num_threads(threads)
    for (int64_t panel = 0; panel < n_panels; panel++)
        for (int64_t i = 0; i < in; i++)
            for (int64_t j = 0; j < PANEL; j += LANES) {
                float *first = weight + (panel * PANEL + j) * far->out + i * far->in;
                floats line[POINTS], halfway[SQUARE];
                for (int64_t p = 0; p < POINTS; p++) {
                    for (int64_t q = 0; q < POINTS; q++) {
                        int64_t place = (panel * SQUARE + p * POINTS + q) * in + i;
                        line[q] = load_float(panels + place * PANEL + j);
                    }
                    read_kernel(size, line, halfway + p, POINTS);
                }
                for (int64_t column = 0; column < size; column++) {
                    read_kernel(size, halfway + column * POINTS, line, 1);
                    for (int64_t row = 0; row < size; row++)
                        for (int64_t lane = 0; lane < LANES; lane++)
                            first[lane * far->out + row * far->row + column * far->column] =
                                line[row][lane];
                }
            }
}

/* Evaluate a weight of `kernel` by `kernel`, or turn the gradient of its values into its own. */
void winograd_evaluate(const float *weight, const int64_t *strides, float *panels, int64_t in,
                       int64_t out, int64_t kernel, int threads) {
    Strides far = {strides[0], strides[1], strides[2], strides[3]};
    if (kernel == 5)
        weight_to_panels(5, weight, &far, panels, in, out / PANEL, threads);
    else
        weight_to_panels(3, weight, &far, panels, in, out / PANEL, threads);
}

void winograd_read(const float *panels, float *weight, const int64_t *strides, int64_t in,
                   int64_t out, int64_t kernel, int threads) {
    Strides far = {strides[0], strides[1], strides[2], strides[3]};
    if (kernel == 5)
        panels_to_weight(5, panels, weight, &far, in, out / PANEL, threads);
    else
        panels_to_weight(3, panels, weight, &far, in, out / PANEL, threads);
}

/* c, ROWS_AT_ONCE by PANEL, becomes a times b, or has it added; the sum is over `depth`. */
INLINE void multiply_block(int64_t depth, const float *a, int64_t a_row, int64_t a_column,
                           const float *b, int64_t b_row, float *c, int64_t c_row, int is_added) {
    floats sums[ROWS_AT_ONCE][VECTORS] = {0};
    for (int64_t k = 0; k < depth; k++) {
        floats factors[VECTORS];
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
    int64_t n_blocks = quotient(grid.count, TILES), n_chunks = quotient(out, CHANNELS);
    /* with few tiles threads share them, and each evaluates the inputs */
    int64_t per_group = quotient(n_chunks, least(n_chunks, quotient(threads, n_blocks)));
    int64_t n_groups = quotient(n_chunks, per_group);
    int is_kept = in <= 2 * CHANNELS;
#pragma omp parallel for collapse(2) num_threads(threads)
    for (int64_t block = 0; block < n_blocks; block++)
        for (int64_t group = 0; group < n_groups; group++) {
            float *slabs = room + omp_get_thread_num() * 3 * SLAB, *products = slabs + 2 * SLAB;
            int64_t first = block * TILES, count = least(TILES, grid.count - first);
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
                    for (int64_t p = 0; p < SQUARE; p++)
                        for (int64_t j = 0; j < n_out; j += PANEL) {
                            const float *panel =
                                weight + (((o + j) / PANEL * SQUARE + p) * in + i) * PANEL;
                            for (int64_t t = 0; t < count; t += ROWS_AT_ONCE) {
                                int64_t place = p * STRIDE + t * CHANNELS;
                                multiply_block(n_in, values + place, CHANNELS, 1, panel, PANEL,
                                               products + place + j, CHANNELS, i > 0);
                            }
                        }
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
#pragma omp for collapse(2)
        for (int64_t o = 0; o < out; o += CHANNELS)
            for (int64_t i = 0; i < in; i += HALF)
                for (int64_t block = start; block < stop; block++) {
                    float *grads = room + omp_get_thread_num() * SLAB;
                    int64_t first = block * TILES, count = least(TILES, grid.count - first);
                    int64_t n_out = least(CHANNELS, out - o);
                    const float *values =
                        all + ((block - start) * per_block + i / HALF) * HALF_SLAB;
                    if (kernel == 5)
                        KERNEL(outputs_to_slab)(&grid, 2, d_y + o, out, n_out, first, count, grads);
                    else
                        KERNEL(outputs_to_slab)(&grid, 4, d_y + o, out, n_out, first, count, grads);
                    for (int64_t p = 0; p < SQUARE; p++)
                        for (int64_t j = 0; j < n_out; j += PANEL)
                            for (int64_t k = 0; k < HALF; k += ROWS_AT_ONCE)
                                multiply_block(
                                    count, values + p * HALF_STRIDE + k, 1, HALF,
                                    grads + p * STRIDE + j, CHANNELS,
                                    d_weight + (((o + j) / PANEL * SQUARE + p) * in + i + k) * PANEL,
                                    PANEL, 1);
                }
    }
}

#endif
