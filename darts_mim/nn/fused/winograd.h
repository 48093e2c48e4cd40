/* Vectors, and the transforms of winograd.c along one axis: inputs, kernels and gradients of outputs
   to values at the points, and what takes them back. */

#ifndef WINOGRAD_H
#define WINOGRAD_H

#include <stdint.h>

#if defined(__AVX512F__)
enum { LANES = 16, ROWS_AT_ONCE = 8 };
#elif defined(__AVX__)
enum { LANES = 8, ROWS_AT_ONCE = 4 };
#else
enum { LANES = 4, ROWS_AT_ONCE = 4 };
#endif
enum { VECTORS = 2, PANEL = VECTORS * LANES, POINTS = 6, SQUARE = POINTS * POINTS, HALF = 32 };
/* values of a panel's row that each block of a slab fetches, so that together they fetch all; none
   with the shortest vectors */
enum { AHEAD = PANEL * ROWS_AT_ONCE / TILES };
/* 16 values more than a power of 2, so that points do not share their place in the cache */
enum { STRIDE = TILES * CHANNELS + 16, SLAB = SQUARE * STRIDE };
enum { HALF_STRIDE = TILES * HALF + 16, HALF_SLAB = SQUARE * HALF_STRIDE };
_Static_assert(HALF % PANEL == 0 && HALF % ROWS_AT_ONCE == 0, "a half is whole panels and rows");
_Static_assert(CHANNELS % HALF == 0 && TILES % ROWS_AT_ONCE == 0, "no rest in a slab");

typedef float floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
#define INLINE static inline __attribute__((always_inline))

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

/* The points, but for 0, infinity and the signs, and their squares; the product of both is 1. */
#define POINT_A (2.0f / 3.0f)
#define POINT_B 1.5f
#define SQUARE_A (4.0f / 9.0f)
#define SQUARE_B (9.0f / 4.0f)

/* Inputs of a tile along an axis to the points: the transposed of reading off the product. */
INLINE void evaluate_inputs(const floats *x, int x_step, floats *values, int step) {
    floats x1 = x[x_step], x2 = x[2 * x_step], x3 = x[3 * x_step], x4 = x[4 * x_step];
    floats even_a = x4 - SQUARE_B * x2, odd_a = POINT_A * (x3 - SQUARE_B * x1);
    floats even_b = x4 - SQUARE_A * x2, odd_b = POINT_B * (x3 - SQUARE_A * x1);
    values[0] = x[0] - (SQUARE_A + SQUARE_B) * x2 + x4;
    values[step] = even_a + odd_a;
    values[2 * step] = even_a - odd_a;
    values[3 * step] = even_b + odd_b;
    values[4 * step] = even_b - odd_b;
    values[5 * step] = x1 - (SQUARE_A + SQUARE_B) * x3 + x[5 * x_step];
}

/* Values at the points to outputs along an axis: output j is the sum of values times point^j. */
INLINE void read_outputs(int64_t side, const floats *values, int step, floats *y, int y_step) {
    floats even_a = values[step] + values[2 * step], odd_a = values[step] - values[2 * step];
    floats even_b = values[3 * step] + values[4 * step], odd_b = values[3 * step] - values[4 * step];
    y[0] = values[0] + even_a + even_b;
    y[y_step] = POINT_A * odd_a + POINT_B * odd_b;
    if (side == 4) {
        y[2 * y_step] = SQUARE_A * even_a + SQUARE_B * even_b;
        y[3 * y_step] = POINT_A * SQUARE_A * odd_a + POINT_B * SQUARE_B * odd_b;
    }
    y[(side - 1) * y_step] += values[5 * step];
}

/* Gradients of outputs along an axis to those of the values at the points: the transposed. */
INLINE void evaluate_outputs(int64_t side, const floats *y, int y_step, floats *values, int step) {
    floats even_a = y[0], odd_a = POINT_A * y[y_step];
    floats even_b = y[0], odd_b = POINT_B * y[y_step];
    if (side == 4) {
        even_a += SQUARE_A * y[2 * y_step], odd_a += POINT_A * SQUARE_A * y[3 * y_step];
        even_b += SQUARE_B * y[2 * y_step], odd_b += POINT_B * SQUARE_B * y[3 * y_step];
    }
    values[0] = y[0];
    values[step] = even_a + odd_a;
    values[2 * step] = even_a - odd_a;
    values[3 * step] = even_b + odd_b;
    values[4 * step] = even_b - odd_b;
    values[5 * step] = y[(side - 1) * y_step];
}

/* What is left of the interpolation between the points, half of it for each sign. */
#define SCALE_A (0.5f / (SQUARE_A * (SQUARE_A - SQUARE_B)))
#define SCALE_B (0.5f / (SQUARE_B * (SQUARE_B - SQUARE_A)))

/* A kernel along an axis to the points. */
INLINE void evaluate_kernel(int64_t size, const floats *x, floats *values, int step) {
    floats even_a = x[0] + SQUARE_A * x[2], odd_a = POINT_A * x[1];
    floats even_b = x[0] + SQUARE_B * x[2], odd_b = POINT_B * x[1];
    if (size == 5) {
        even_a += SQUARE_A * SQUARE_A * x[4], odd_a += POINT_A * SQUARE_A * x[3];
        even_b += SQUARE_B * SQUARE_B * x[4], odd_b += POINT_B * SQUARE_B * x[3];
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
    x[2 * step] = SQUARE_A * even_a + SQUARE_B * even_b;
    if (size == 5) {
        x[3 * step] = POINT_A * SQUARE_A * odd_a + POINT_B * SQUARE_B * odd_b;
        x[4 * step] = SQUARE_A * SQUARE_A * even_a + SQUARE_B * SQUARE_B * even_b;
    }
    x[(size - 1) * step] += values[5];
}

#endif
