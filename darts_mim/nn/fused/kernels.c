/* The elementwise work of a MIM step on a CPU: normalisation and gates in one pass each.

   What these functions compute is defined by darts_mim/nn/fused/formulas.py; the tests hold them
   to it. Tensors are dense with the channels innermost: N = height * width rows of channels for
   each of B samples. Work is shared out in blocks of ROWS rows, which the compiler is told, and
   sums run in an order that depends on the sizes alone: a result does not depend on `threads`.

   The file includes itself once for each type of the convolutions' outputs. */

#ifndef KERNEL
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { REMEMBER, ADMIT, EMIT };
enum { ROWS_AHEAD = 4, SMALL = 16384 };
_Static_assert(sizeof(void *) == sizeof(int64_t), "addresses come as 64-bit integers");

/* One summand of a pre-activation: a stretch of channels of a convolution's output, and how it is
   normalised (stats and gain may be NULL: not at all) and shifted (bias may be NULL). */
typedef struct {
    const void *raw;    /* first of its channels */
    int64_t width;      /* channels of the whole output: from one row to the next */
    const float *stats; /* mean and 1 / standard deviation of each sample */
    const float *gain, *bias;
} Source;

/* exp(x) to about 1e-7 of itself: 2^k exp(r), |r| <= log(2) / 2, by its Taylor series. NaN stays. */
static inline float exponential(float x) {
    x = x > 88.0f ? 88.0f : x;
    x = x < -87.0f ? -87.0f : x;
    float k = rintf(x * 1.44269504f);
    float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    union { int32_t bits; float value; } power = {.bits = ((int32_t)k + 127) << 23};
    return p * power.value;
}

static inline float logistic(float x) { return 1.0f / (1.0f + exponential(-x)); }

/* Near zero by its Taylor series, where 1 - 2 / (1 + exp(2 x)) would lose its digits. */
static inline float hyperbolic_tangent(float x) {
    float square = x * x;
    float far = 1.0f - 2.0f / (1.0f + exponential(2.0f * x));
    float p = -1382.0f / 155925.0f;
    p = p * square + 62.0f / 2835.0f;
    p = p * square - 17.0f / 315.0f;
    p = p * square + 2.0f / 15.0f;
    p = p * square - 1.0f / 3.0f;
    float near = x + x * square * p;
    return square < 0.09f ? near : far;
}

static inline float load_float(const float *x) { return *x; }
static inline void store_float(float *x, float value) { *x = value; }

static inline float load_bfloat16(const uint16_t *x) {
    union { uint32_t bits; float value; } wide = {.bits = (uint32_t)*x << 16};
    return wide.value;
}

/* Round to the nearest, to even from the middle; NaN keeps a bit of its own. */
static inline void store_bfloat16(uint16_t *x, float value) {
    union { float value; uint32_t bits; } wide = {.value = value};
    uint32_t rounded = (wide.bits + 0x7fffu + ((wide.bits >> 16) & 1u)) >> 16;
    *x = (uint16_t)(value != value ? 0x7fc0u : rounded);
}

static int64_t blocks_of(int64_t n) { return (n + ROWS - 1) / ROWS; }
static int64_t end_of(int64_t block, int64_t n) {
    return (block + 1) * ROWS < n ? (block + 1) * ROWS : n;
}
static int64_t gates_of(int mode) { return mode == REMEMBER ? 3 : mode == ADMIT ? 2 : 1; }

#define JOIN(a, b) a##_##b
#define NAME(a, b) JOIN(a, b)
#define KERNEL(name) NAME(name, SUFFIX)
#define LOAD NAME(load, SUFFIX)
#define STORE NAME(store, SUFFIX)

#define SUFFIX float
#define TYPE float
#include "kernels.c"
#undef SUFFIX
#undef TYPE
#define SUFFIX bfloat16
#define TYPE uint16_t
#include "kernels.c"

#else

/* Mean and 1 / standard deviation of each sample, over all its channels and rows. `partial` holds
   3 doubles for each block of rows. */
void KERNEL(statistics)(const TYPE *raw, float *stats, double *partial, double epsilon, int64_t B,
                        int64_t N, int64_t C, int threads) {
    int64_t n_blocks = blocks_of(N);
#pragma omp parallel for collapse(2) if (B * N * C > SMALL) num_threads(threads)
    for (int64_t b = 0; b < B; b++)
        for (int64_t block = 0; block < n_blocks; block++) {
            const TYPE *x = raw + (b * N + block * ROWS) * C;
            int64_t count = (end_of(block, N) - block * ROWS) * C;
            float sum = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : sum)
            for (int64_t j = 0; j < count; j++) sum += LOAD(x + j);
            float mean = sum / (float)count;
#pragma omp simd reduction(+ : squares)
            for (int64_t j = 0; j < count; j++) {
                float far = LOAD(x + j) - mean;
                squares += far * far;
            }
            double *mine = partial + 3 * (b * n_blocks + block);
            mine[0] = (double)count, mine[1] = mean, mine[2] = squares;
        }
    for (int64_t b = 0; b < B; b++) {
        double count = 0.0, mean = 0.0, squares = 0.0;
        for (int64_t block = 0; block < n_blocks; block++) {
            const double *part = partial + 3 * (b * n_blocks + block);
            double total = count + part[0], far = part[1] - mean;
            mean += far * part[0] / total;
            squares += part[2] + far * far * count * part[0] / total;
            count = total;
        }
        stats[2 * b] = (float)mean;
        stats[2 * b + 1] = (float)(1.0 / sqrt(squares / count + epsilon));
    }
}

/* What a source's channels are multiplied with, and what is added, in one sample. */
static void KERNEL(affine)(const Source *source, int64_t b, int64_t width, float *factor,
                           float *offset) {
    float mean = source->stats ? source->stats[2 * b] : 0.0f;
    float rstd = source->stats ? source->stats[2 * b + 1] : 1.0f;
    for (int64_t c = 0; c < width; c++) {
        factor[c] = source->gain ? rstd * source->gain[c] : rstd;
        offset[c] = (source->bias ? source->bias[c] : 0.0f) - mean * factor[c];
    }
}

static inline void KERNEL(add_up)(const Source *sources, int count, const float *factor,
                                  const float *offset, int64_t row, int64_t width,
                                  float *restrict pre) {
    for (int k = 0; k < count; k++) {
        const TYPE *restrict x = (const TYPE *)sources[k].raw + row * sources[k].width;
        const float *restrict a = factor + k * width, *restrict o = offset + k * width;
        /* a stretch of a wider output: the processor does not see by itself what comes next */
        for (int64_t c = 0; c < width; c += 64 / (int64_t)sizeof(TYPE))
            __builtin_prefetch(x + ROWS_AHEAD * sources[k].width + c);
        if (k == 0) {
#pragma omp simd
            for (int64_t c = 0; c < width; c++) pre[c] = LOAD(x + c) * a[c] + o[c];
        } else {
#pragma omp simd
            for (int64_t c = 0; c < width; c++) pre[c] += LOAD(x + c) * a[c] + o[c];
        }
    }
}

/* REMEMBER: f . state + i . g; ADMIT: state + i . g; EMIT: o . tanh(state). */
void KERNEL(gates)(int mode, int count, const Source *sources, const float *state, float *result,
                   int64_t B, int64_t N, int64_t C, int threads) {
    int64_t n_blocks = blocks_of(N), width = gates_of(mode) * C;
#pragma omp parallel for collapse(2) if (B * N * C > SMALL) num_threads(threads)
    for (int64_t b = 0; b < B; b++)
        for (int64_t block = 0; block < n_blocks; block++) {
            float factor[count * width], offset[count * width], pre[width];
            for (int k = 0; k < count; k++)
                KERNEL(affine)(sources + k, b, width, factor + k * width, offset + k * width);
            for (int64_t n = block * ROWS; n < end_of(block, N); n++) {
                int64_t row = b * N + n;
                const float *restrict s = state + row * C;
                float *restrict out = result + row * C;
                const float *p = pre;
                KERNEL(add_up)(sources, count, factor, offset, row, width, pre);
                if (mode == REMEMBER) {
#pragma omp simd
                    for (int64_t c = 0; c < C; c++)
                        out[c] = logistic(p[2 * C + c]) * s[c] +
                                 logistic(p[C + c]) * hyperbolic_tangent(p[c]);
                } else if (mode == ADMIT) {
#pragma omp simd
                    for (int64_t c = 0; c < C; c++)
                        out[c] = s[c] + logistic(p[C + c]) * hyperbolic_tangent(p[c]);
                } else {
#pragma omp simd
                    for (int64_t c = 0; c < C; c++)
                        out[c] = logistic(p[c]) * hyperbolic_tangent(s[c]);
                }
            }
        }
}

/* Gradients of the above: of the pre-activations into `d_pre`, of the state into `d_state` (none
   with ADMIT: it is `grad`), and for each source k and sample b the sums over the rows of d_pre
   and of d_pre times the normalised channels into sums[k][b][0] and sums[k][b][1]. `partial` holds
   (1 + count) * width floats for each block of rows. */
void KERNEL(gates_backward)(int mode, int count, const Source *sources, const float *state,
                            const float *grad, TYPE *d_pre, float *d_state, float *sums,
                            float *partial, int64_t B, int64_t N, int64_t C, int threads) {
    int64_t n_blocks = blocks_of(N), width = gates_of(mode) * C;
#pragma omp parallel for collapse(2) if (B * N * C > SMALL) num_threads(threads)
    for (int64_t b = 0; b < B; b++)
        for (int64_t block = 0; block < n_blocks; block++) {
            float factor[count * width], offset[count * width], pre[width];
            float *restrict mine = partial + (b * n_blocks + block) * (1 + count) * width;
            memset(mine, 0, sizeof(float) * (size_t)((1 + count) * width));
            for (int k = 0; k < count; k++)
                KERNEL(affine)(sources + k, b, width, factor + k * width, offset + k * width);
            for (int64_t n = block * ROWS; n < end_of(block, N); n++) {
                int64_t row = b * N + n;
                const float *restrict s = state + row * C, *restrict g = grad + row * C;
                float *restrict ds = d_state + row * C, *p = pre;
                TYPE *restrict d = d_pre + row * width;
                KERNEL(add_up)(sources, count, factor, offset, row, width, pre);
                if (mode == REMEMBER) {
#pragma omp simd
                    for (int64_t c = 0; c < C; c++) {
                        float content = hyperbolic_tangent(p[c]), in = logistic(p[C + c]);
                        float kept = logistic(p[2 * C + c]);
                        p[c] = g[c] * in * (1.0f - content * content);
                        p[C + c] = g[c] * content * in * (1.0f - in);
                        p[2 * C + c] = g[c] * s[c] * kept * (1.0f - kept);
                        ds[c] = g[c] * kept;
                    }
                } else if (mode == ADMIT) {
#pragma omp simd
                    for (int64_t c = 0; c < C; c++) {
                        float content = hyperbolic_tangent(p[c]), in = logistic(p[C + c]);
                        p[c] = g[c] * in * (1.0f - content * content);
                        p[C + c] = g[c] * content * in * (1.0f - in);
                    }
                } else {
#pragma omp simd
                    for (int64_t c = 0; c < C; c++) {
                        float content = hyperbolic_tangent(s[c]), out = logistic(p[c]);
                        p[c] = g[c] * content * out * (1.0f - out);
                        ds[c] = g[c] * out * (1.0f - content * content);
                    }
                }
#pragma omp simd
                for (int64_t c = 0; c < width; c++) {
                    STORE(d + c, p[c]);
                    mine[c] += p[c];
                }
                for (int k = 0; k < count; k++) {
                    const Source *source = sources + k;
                    if (!source->stats) continue;
                    const TYPE *restrict x = (const TYPE *)source->raw + row * source->width;
                    float mean = source->stats[2 * b], rstd = source->stats[2 * b + 1];
                    float *restrict weighted = mine + (1 + k) * width;
#pragma omp simd
                    for (int64_t c = 0; c < width; c++)
                        weighted[c] += p[c] * ((LOAD(x + c) - mean) * rstd);
                }
            }
        }
    for (int k = 0; k < count; k++)
        for (int64_t b = 0; b < B; b++) {
            float *restrict all = sums + (k * B + b) * 2 * width;
            memset(all, 0, sizeof(float) * (size_t)(2 * width));
            for (int64_t block = 0; block < n_blocks; block++) {
                const float *part = partial + (b * n_blocks + block) * (1 + count) * width;
                const float *restrict plain = part, *restrict weighted = part + (1 + k) * width;
#pragma omp simd
                for (int64_t c = 0; c < width; c++) {
                    all[c] += plain[c];
                    all[width + c] += weighted[c];
                }
            }
        }
}

/* The gradient of a convolution's output from those of the pre-activations it was normalised to,
   which come in groups of channels: d_pre and sums of each group, as above. Those of gain and bias
   are written, too. */
void KERNEL(raw_gradient)(int n_groups, const int64_t *widths, const TYPE *const *d_pre,
                          const float *const *sums, const TYPE *raw, const float *stats,
                          const float *gain, TYPE *d_raw, float *d_gain, float *d_bias, int64_t B,
                          int64_t N, int64_t C, int threads) {
    int64_t n_blocks = blocks_of(N);
#pragma omp parallel for collapse(2) if (B * N * C > SMALL) num_threads(threads)
    for (int64_t b = 0; b < B; b++)
        for (int64_t block = 0; block < n_blocks; block++) {
            float mean = stats ? stats[2 * b] : 0.0f, rstd = stats ? stats[2 * b + 1] : 1.0f;
            float plain = 0.0f, weighted = 0.0f; /* means of gain . d_pre, and of that . normalised */
            for (int64_t group = 0, first = 0; stats && group < n_groups; first += widths[group++])
                for (int64_t c = 0; c < widths[group]; c++) {
                    const float *sum = sums[group] + b * 2 * widths[group];
                    plain += gain[first + c] * sum[c];
                    weighted += gain[first + c] * sum[widths[group] + c];
                }
            plain /= (float)(N * C), weighted /= (float)(N * C);
            float slope = -rstd * rstd * weighted, offset = -rstd * plain - slope * mean;
            for (int64_t n = block * ROWS; n < end_of(block, N); n++) {
                int64_t row = b * N + n;
                for (int64_t group = 0, first = 0; group < n_groups; first += widths[group++]) {
                    int64_t width = widths[group];
                    const TYPE *restrict d = d_pre[group] + row * width;
                    const TYPE *restrict x = raw + row * C + first;
                    const float *restrict g = stats ? gain + first : NULL;
                    TYPE *restrict out = d_raw + row * C + first;
                    if (!stats) {
                        memcpy(out, d, sizeof(TYPE) * (size_t)width);
                    } else {
#pragma omp simd
                        for (int64_t c = 0; c < width; c++)
                            STORE(out + c, rstd * g[c] * LOAD(d + c) + offset + slope * LOAD(x + c));
                    }
                }
            }
        }
    for (int64_t group = 0, first = 0; group < n_groups; first += widths[group++])
        for (int64_t c = 0; c < widths[group]; c++) {
            float plain = 0.0f, weighted = 0.0f;
            for (int64_t b = 0; b < B; b++) {
                plain += sums[group][b * 2 * widths[group] + c];
                weighted += sums[group][(b * 2 + 1) * widths[group] + c];
            }
            d_gain[first + c] = weighted;
            d_bias[first + c] = plain;
        }
}

#endif
