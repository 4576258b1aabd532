/* Mamba's selective scan on a CPU: states in registers, a chunk of positions at a time.

   For every example and channel, with the paper's letters (step, gate and skip included):
       delta = softplus(raw + bias)
       a     = exp(delta A),  or 2 exp(delta A) - 1 for eigenvalues in [-1, 1]
       h_n   = a_n h_n + delta x B_n
       y     = (sum_n C_n h_n + D x) silu(z)

   The forward pass takes TILE vectors of channels together and runs one state at a time through a
   chunk: softplus and the decays of all its positions come first, so that the CPU can work on many
   at once, and only what has to be sequential is.
   The backward pass keeps only the state before every CHUNK-th position and recomputes the rest,
   so that its working set stays in the cache for any length.

   Layout: x, raw, z, y are (batch, time, width) and B, C are (batch, time, n), inputs with any
   strides between examples and positions; A is (decays, width), where decays is n, or 1 if all
   states of a channel decay alike, as in Mamba-2. */

#include "vectors.h"

#define CHUNK 16
#define TILE 2
#define LOG2E 1.44269504f

typedef struct {
    long batch, time, width, n, decays, signed_range;
    Rows x, raw, z, B, C;
    const float *A, *D, *bias;
} Scan;

typedef struct {
    float *x, *raw, *z, *B, *C, *A, *D, *bias; /* the last three must be zero at the start */
} Gradients;

INLINE long smaller(long a, long b) { return a < b ? a : b; }
INLINE long blocks_of(const Scan *s) { return (s->width + LANES - 1) / LANES; }
INLINE long chunks_of(const Scan *s) { return (s->time + CHUNK - 1) / CHUNK; }

/* Sizes, in floats, of the two buffers that the caller allocates. */
long selective_scan_checkpoint_size(const Scan *s) {
    return s->batch * chunks_of(s) * s->n * s->width;
}
long selective_scan_scratch_size(const Scan *s) {
    return (4 * CHUNK + 1 + blocks_of(s)) * s->n * LANES;
}

INLINE vec decay_of(vec e, long signed_range) { return signed_range ? 2.0f * e - 1.0f : e; }

/* A chunk of positions of TILE vectors of channels; y is the sum before the gate. */
typedef struct {
    vec z[CHUNK][TILE], delta[CHUNK][TILE], input[CHUNK][TILE], decay[CHUNK][TILE], y[CHUNK][TILE];
} Tile;

#define EACH_VECTOR for (int k = 0; k < TILE; k++)
/* The k-th vector of a row of a tensor, at the tile's channels. */
#define AT(row) ((row) + first + k * LANES)
#define LEFT (s->width - first - k * LANES)

INLINE void read_tile(const Scan *s, long b, long from, long length, long first, int reading, Tile *at) {
    for (long t = 0; t < length; t++) EACH_VECTOR {
        const vec x = load(AT(row_of(&s->x, b, from + t)), LEFT), bias = load(AT(s->bias), LEFT);
        at->delta[t][k] = softplus(load(AT(row_of(&s->raw, b, from + t)), LEFT) + bias);
        at->input[t][k] = at->delta[t][k] * x;
        if (!reading) continue;
        at->z[t][k] = load(AT(row_of(&s->z, b, from + t)), LEFT);
        at->y[t][k] = load(AT(s->D), LEFT) * x;
    }
}

INLINE void find_decays(const Scan *s, const float *A, long length, long first, Tile *at) {
    vec rate[TILE];
    EACH_VECTOR rate[k] = load(AT(A), LEFT) * LOG2E;
    for (long t = 0; t < length; t++)
        EACH_VECTOR at->decay[t][k] = decay_of(power_of_two(at->delta[t][k] * rate[k]), s->signed_range);
}

/* Take one state of every channel through a chunk; B and C are its entries at the first position. */
INLINE void run_state(const Scan *s, const float *B, const float *C, long length, int reading, Tile *at,
                      vec *state) {
    vec h[TILE];
    EACH_VECTOR h[k] = state[k];
    for (long t = 0; t < length; t++, B += s->B.position, C += s->C.position) EACH_VECTOR {
        h[k] = at->decay[t][k] * h[k] + at->input[t][k] * *B;
        if (reading) at->y[t][k] += h[k] * *C;
    }
    EACH_VECTOR state[k] = h[k];
}

INLINE void write_tile(const Scan *s, long row, long length, long first, const Tile *at, float *y) {
    for (long t = 0; t < length; t++, row++)
        EACH_VECTOR store(AT(y + row * s->width), at->y[t][k] * at->z[t][k] * sigmoid(at->z[t][k]), LEFT);
}

INLINE void write_states(const Scan *s, long n, long first, vec (*h)[TILE], float *to) {
    for (long i = 0; i < n; i++) EACH_VECTOR store(AT(to + i * s->width), h[i][k], LEFT);
}

/* One example, from its state before the first position, of which reading is a constant. */
INLINE void forward(const Scan *s, long b, const float *start, int reading, float *y, float *checkpoints,
                    float *last) {
    const long n = s->n, size = n * s->width;
    Tile at;
    for (long first = 0; first < s->width; first += TILE * LANES) {
        vec h[n][TILE];
        for (long i = 0; i < n; i++)
            EACH_VECTOR h[i][k] = start ? load(AT(start + b * size + i * s->width), LEFT) : (vec){0};
        for (long chunk = 0; chunk < chunks_of(s); chunk++) {
            const long from = chunk * CHUNK, length = smaller(CHUNK, s->time - from);
            if (checkpoints)
                write_states(s, n, first, h, checkpoints + (b * chunks_of(s) + chunk) * size);
            read_tile(s, b, from, length, first, reading, &at);
            for (long i = 0; i < n; i++) {
                const float *B = row_of(&s->B, b, from) + i, *C = row_of(&s->C, b, from) + i;
                if (i < s->decays) find_decays(s, s->A + i * s->width, length, first, &at);
                run_state(s, B, C, length, reading, &at, h[i]);
            }
            if (reading) write_tile(s, b * s->time + from, length, first, &at, y);
        }
        if (last) write_states(s, n, first, h, last + b * size);
    }
}

/* start and last: (batch, n, width), or null, for zeros and for a last state that is not wanted;
   y: null if it is not wanted, and then z and C are not looked at;
   checkpoints, the states before every chunk: (batch, chunks, n, width), or null. */
void selective_scan_forward(const Scan *s, int threads, const float *start, float *y, float *checkpoints,
                            float *last) {
    if (y) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (long b = 0; b < s->batch; b++) forward(s, b, start, 1, y, checkpoints, last);
    } else {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (long b = 0; b < s->batch; b++) forward(s, b, start, 0, y, checkpoints, last);
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
    for (long i = 0; i < n; i++) h[i] = load(checkpoint + i * s->width + first, left);
    for (long t = 0; t < length; t++) {
        const float *B = row_of(&s->B, b, from + t), *C = row_of(&s->C, b, from + t);
        const vec x = at->x[t] = load(row_of(&s->x, b, from + t) + first, left);
        at->z[t] = load(row_of(&s->z, b, from + t) + first, left);
        at->raw[t] = load(row_of(&s->raw, b, from + t) + first, left) + bias;
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
        const float *B = row_of(&s->B, b, from + t), *C = row_of(&s->C, b, from + t);
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
                          checkpoints + (b * chunks + chunk) * n * s->width, A, &at, h, e);
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
void selective_scan_backward(const Scan *s, const float *dy, const float *checkpoints, float *scratch,
                             const Gradients *d) {
    if (s->n == 16 && s->decays == 16)
        backward(s, 16, 16, dy, checkpoints, scratch, d);
    else if (s->n == 16 && s->decays == 1)
        backward(s, 16, 1, dy, checkpoints, scratch, d);
    else
        backward(s, s->n, s->decays, dy, checkpoints, scratch, d);
}
