/* Mamba's selective scan on a CPU: one pass over time per LANES channels, state in registers.

   For every example and channel, with the paper's letters (step, gate and skip included):
       delta = softplus(raw + bias)
       a     = exp(delta A),  or 2 exp(delta A) - 1 for eigenvalues in [-1, 1]
       h_n   = a_n h_n + delta x B_n
       y     = (sum_n C_n h_n + D x) silu(z)

   The backward pass keeps only the state before every CHUNK-th position and recomputes the rest,
   so that its working set stays in the cache for any length.

   Layout: x, raw, z, y are (batch, time, width) and B, C are (batch, time, n), each input with its
   own stride between positions; A is (decays, width), where decays is n, or 1 if all states of a
   channel decay alike, as in Mamba-2. */

#include "vectors.h"

#define CHUNK 16
#define LOG2E 1.44269504f

typedef struct {
    long batch, time, width, n, decays, signed_range;
    long x_row, raw_row, z_row, B_row, C_row;
    const float *x, *raw, *z, *B, *C, *A, *D, *bias;
} Scan;

typedef struct {
    float *x, *raw, *z, *B, *C, *A, *D, *bias; /* the last three must be zero at the start */
} Gradients;

INLINE long smaller(long a, long b) { return a < b ? a : b; }
INLINE long blocks_of(const Scan *s) { return (s->width + LANES - 1) / LANES; }
INLINE long chunks_of(const Scan *s) { return (s->time + CHUNK - 1) / CHUNK; }

/* Sizes, in floats, of the two buffers that the caller allocates. */
long selective_scan_checkpoint_size(const Scan *s) {
    return s->batch * chunks_of(s) * blocks_of(s) * s->n * LANES;
}
long selective_scan_scratch_size(const Scan *s) {
    return (4 * CHUNK + 1 + blocks_of(s)) * s->n * LANES;
}

INLINE vec decay_of(vec e, long signed_range) { return signed_range ? 2.0f * e - 1.0f : e; }

/* checkpoints: (batch, chunks, blocks, n, LANES) or null; last: (batch, n, width). */
INLINE void forward(const Scan *s, long n, long decays, float *y, float *checkpoints, float *last) {
    const long blocks = blocks_of(s), chunks = chunks_of(s);
    for (long b = 0; b < s->batch; b++)
        for (long block = 0; block < blocks; block++) {
            const long first = block * LANES, left = s->width - first;
            const vec D = load(s->D + first, left), bias = load(s->bias + first, left);
            vec h[n], A[decays], a = {0};
            for (long i = 0; i < n; i++) h[i] = (vec){0};
            for (long i = 0; i < decays; i++) A[i] = load(s->A + i * s->width + first, left) * LOG2E;
            for (long t = 0; t < s->time; t++) {
                const long row = b * s->time + t;
                if (checkpoints && t % CHUNK == 0)
                    memcpy(checkpoints + ((b * chunks + t / CHUNK) * blocks + block) * n * LANES, h,
                           n * sizeof(vec));
                const vec x = load(s->x + row * s->x_row + first, left);
                const vec z = load(s->z + row * s->z_row + first, left);
                const vec delta = softplus(load(s->raw + row * s->raw_row + first, left) + bias);
                const float *B = s->B + row * s->B_row, *C = s->C + row * s->C_row;
                const vec input = delta * x;
                vec sum = D * x;
                for (long i = 0; i < n; i++) {
                    if (i < decays) a = decay_of(power_of_two(delta * A[i]), s->signed_range);
                    h[i] = a * h[i] + input * B[i];
                    sum += C[i] * h[i];
                }
                store(y + row * s->width + first, sum * z * sigmoid(z), left);
            }
            for (long i = 0; i < n; i++) store(last + (b * n + i) * s->width + first, h[i], left);
        }
}

typedef struct {
    vec x[CHUNK], z[CHUNK], raw[CHUNK], delta[CHUNK], y[CHUNK];
} Positions;

/* Recompute a chunk: h[t] is the state before position t, e[t] is exp(delta A). */
INLINE void recompute(const Scan *s, long n, long decays, long b, long from, long length, long first,
                      const float *checkpoint, const vec *A, Positions *at, vec *h, vec *e) {
    const long left = s->width - first;
    const vec D = load(s->D + first, left), bias = load(s->bias + first, left);
    memcpy(h, checkpoint, n * sizeof(vec));
    for (long t = 0; t < length; t++) {
        const long row = b * s->time + from + t;
        const float *B = s->B + row * s->B_row, *C = s->C + row * s->C_row;
        const vec x = at->x[t] = load(s->x + row * s->x_row + first, left);
        at->z[t] = load(s->z + row * s->z_row + first, left);
        at->raw[t] = load(s->raw + row * s->raw_row + first, left) + bias;
        const vec delta = at->delta[t] = softplus(at->raw[t]), input = delta * x;
        vec sum = D * x, a = {0};
        for (long i = 0; i < n; i++) {
            if (i < decays) a = decay_of(e[t * n + i] = power_of_two(delta * A[i]), s->signed_range);
            h[(t + 1) * n + i] = a * h[t * n + i] + input * B[i];
            sum += C[i] * h[(t + 1) * n + i];
        }
        at->y[t] = sum;
    }
}

/* Go back through a chunk; carry is the gradient of the state after it, already decayed. */
INLINE void reverse(const Scan *s, long n, long decays, long b, long from, long length, long first,
                    const float *dy, const Gradients *d, const vec *A, const Positions *at,
                    const vec *h, const vec *e, vec *carry, vec *dB, vec *dC) {
    const long left = s->width - first;
    const vec D = load(s->D + first, left);
    const float slope = s->signed_range ? 2.0f : 1.0f; /* of the decay with respect to e */
    vec dA[decays], dD = {0}, dbias = {0};
    for (long i = 0; i < decays; i++) dA[i] = (vec){0};
    for (long t = length - 1; t >= 0; t--) {
        const long row = b * s->time + from + t;
        const float *B = s->B + row * s->B_row, *C = s->C + row * s->C_row;
        const vec out = load(dy + row * s->width + first, left);
        const vec x = at->x[t], z = at->z[t], delta = at->delta[t], input = delta * x;
        const vec gate = sigmoid(z), dsum = out * z * gate;
        vec dinput = {0}, ddelta = {0}, da = {0};
        for (long i = 0; i < n; i++) {
            const long k = i < decays ? i : 0;
            const vec dh = carry[i] + dsum * C[i];
            dC[t * n + i] += dsum * h[(t + 1) * n + i];
            dB[t * n + i] += dh * input;
            dinput += dh * B[i];
            carry[i] = dh * decay_of(e[t * n + k], s->signed_range);
            da = (decays == 1 ? da : (vec){0}) + dh * h[t * n + i];
            if (decays > 1 || i == n - 1) {
                const vec dexponent = da * e[t * n + k] * slope;
                ddelta += dexponent * A[k];
                dA[k] += dexponent * delta;
            }
        }
        const vec draw = (ddelta / LOG2E + dinput * x) * sigmoid(at->raw[t]);
        dD += dsum * x;
        dbias += draw;
        store(d->x + row * s->width + first, dinput * delta + dsum * D, left);
        store(d->raw + row * s->width + first, draw, left);
        store(d->z + row * s->width + first, out * at->y[t] * gate * (1.0f + z * (1.0f - gate)), left);
    }
    for (long i = 0; i < decays; i++) add_to(d->A + i * s->width + first, dA[i], left);
    add_to(d->D + first, dD, left);
    add_to(d->bias + first, dbias, left);
}

/* scratch holds h, e, dB, dC of one chunk and the carry of every block. */
INLINE void backward(const Scan *s, long n, long decays, const float *dy, const float *checkpoints,
                     float *scratch, const Gradients *d) {
    const long blocks = blocks_of(s), chunks = chunks_of(s);
    vec *h = (vec *)scratch, *e = h + (CHUNK + 1) * n, *dB = e + CHUNK * n, *dC = dB + CHUNK * n;
    vec *carry = dC + CHUNK * n;
    Positions at;
    for (long b = 0; b < s->batch; b++) {
        memset(carry, 0, blocks * n * sizeof(vec));
        for (long chunk = chunks - 1; chunk >= 0; chunk--) {
            const long from = chunk * CHUNK, length = smaller(CHUNK, s->time - from);
            memset(dB, 0, 2 * CHUNK * n * sizeof(vec));
            for (long block = 0; block < blocks; block++) {
                const long first = block * LANES;
                vec A[decays];
                for (long i = 0; i < decays; i++) A[i] = load(s->A + i * s->width + first, s->width - first) * LOG2E;
                recompute(s, n, decays, b, from, length, first,
                          checkpoints + ((b * chunks + chunk) * blocks + block) * n * LANES, A, &at, h, e);
                reverse(s, n, decays, b, from, length, first, dy, d, A, &at, h, e, carry + block * n, dB, dC);
            }
            for (long i = 0; i < length * n; i++) {
                d->B[(b * s->time + from) * n + i] = total(dB[i]);
                d->C[(b * s->time + from) * n + i] = total(dC[i]);
            }
        }
    }
}

/* The usual sizes get copies of the loops in which they are constants. */
#define WITH_CONSTANT_SIZES(pass, ...)                    \
    if (s->n == 16 && s->decays == 16)                    \
        pass(s, 16, 16, __VA_ARGS__);                     \
    else if (s->n == 16 && s->decays == 1)                \
        pass(s, 16, 1, __VA_ARGS__);                      \
    else                                                  \
        pass(s, s->n, s->decays, __VA_ARGS__);

void selective_scan_forward(const Scan *s, float *y, float *checkpoints, float *last) {
    WITH_CONSTANT_SIZES(forward, y, checkpoints, last)
}

void selective_scan_backward(const Scan *s, const float *dy, const float *checkpoints, float *scratch,
                             const Gradients *d) {
    WITH_CONSTANT_SIZES(backward, dy, checkpoints, scratch, d)
}
