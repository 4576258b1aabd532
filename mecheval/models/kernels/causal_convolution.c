/* Depthwise causal convolution over time: y_t = bias + sum_k w_k x_{t - taps + 1 + k}.

   Layout: x is (batch, time, width) with its own stride between positions; w is (taps, width). */

typedef struct {
    long batch, time, width, taps, x_row;
    const float *x, *w, *bias;
} Convolution;

static inline long first_tap(long t, long taps) { return t + 1 < taps ? taps - 1 - t : 0; }

void causal_convolution_forward(const Convolution *c, float *restrict y) {
    const long width = c->width, taps = c->taps;
    for (long b = 0; b < c->batch; b++)
        for (long t = 0; t < c->time; t++, y += width) {
            for (long d = 0; d < width; d++) y[d] = c->bias[d];
            for (long k = first_tap(t, taps); k < taps; k++) {
                const float *restrict w = c->w + k * width;
                const float *restrict x = c->x + (b * c->time + t - taps + 1 + k) * c->x_row;
                for (long d = 0; d < width; d++) y[d] += w[d] * x[d];
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
            for (long k = first_tap(t, taps); k < taps; k++) {
                const long source = b * c->time + t - taps + 1 + k;
                const float *restrict w = c->w + k * width, *restrict x = c->x + source * c->x_row;
                float *restrict to = dx + source * width, *restrict dwk = dw + k * width;
                for (long d = 0; d < width; d++) {
                    to[d] += w[d] * dy[d];
                    dwk[d] += x[d] * dy[d];
                }
            }
        }
}
