/* Depthwise causal convolution over time: y_t = bias + sum_k w_k x_{t - taps + 1 + k}.

   Layout: x is (batch, time, width) with any strides between examples and positions; before is (batch,
   taps - 1, width), the inputs before the first position, or null for zeros; w is (taps, width). */

#include "vectors.h"

typedef struct {
    long batch, time, width, taps;
    Rows x;
    const float *before, *w, *bias;
} Convolution;

/* The input at a position, which may lie before the first. */
INLINE const float *input_at(const Convolution *c, long b, long position) {
    return position >= 0 ? row_of(&c->x, b, position)
                         : c->before + ((b + 1) * (c->taps - 1) + position) * c->width;
}

/* The first tap that reads an input. */
INLINE long first_tap(const Convolution *c, long t) {
    return c->before || t + 1 >= c->taps ? 0 : c->taps - 1 - t;
}

void causal_convolution_forward(const Convolution *c, int threads, float *restrict out) {
    const long width = c->width, taps = c->taps;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long b = 0; b < c->batch; b++)
        for (long t = 0; t < c->time; t++) {
            float *restrict y = out + (b * c->time + t) * width;
            const float *x[taps];
            for (long k = first_tap(c, t); k < taps; k++) x[k] = input_at(c, b, t - taps + 1 + k);
            for (long d = 0; d < width; d += LANES) {
                vec sum = load(c->bias + d, width - d);
                for (long k = first_tap(c, t); k < taps; k++)
                    sum += load(c->w + k * width + d, width - d) * load(x[k] + d, width - d);
                store(y + d, sum, width - d);
            }
        }
}

/* dx, dw and dbias must be zero at the start. */
void causal_convolution_backward(const Convolution *c, const float *restrict dy, float *restrict dx,
                                 float *restrict dw, float *restrict dbias) {
    const long width = c->width, taps = c->taps;
    for (long b = 0; b < c->batch; b++)
        for (long t = 0; t < c->time; t++, dy += width) {
            for (long d = 0; d < width; d++) dbias[d] += dy[d];
            for (long k = first_tap(c, t); k < taps; k++) {
                const long source = t - taps + 1 + k;
                const float *restrict x = input_at(c, b, source), *restrict w = c->w + k * width;
                float *restrict dwk = dw + k * width;
                for (long d = 0; d < width; d++) dwk[d] += x[d] * dy[d];
                if (source < 0) continue;
                float *restrict to = dx + (b * c->time + source) * width;
                for (long d = 0; d < width; d++) to[d] += w[d] * dy[d];
            }
        }
}

/* Whether the loops over examples run on threads. */
int kernels_are_threaded(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}
