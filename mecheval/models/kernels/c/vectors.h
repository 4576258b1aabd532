/* LANES floats side by side, in the vector extension that both gcc and clang have.

   Loops over the lanes of a vector are avoided: gcc 12 was seen to compile one wrongly. */

#ifndef MECHEVAL_VECTORS_H
#define MECHEVAL_VECTORS_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

/* A tensor (batch, time, width) whose last axis is contiguous, with its strides. */
typedef struct {
    const float *data;
    long example, position;
} Rows;

INLINE const float *row_of(const Rows *rows, long b, long t) {
    return rows->data + b * rows->example + t * rows->position;
}

/* Channels beyond the width are read as zero and not written. */
INLINE vec load(const float *from, long channels) {
    vec value = {0};
    if (channels >= LANES)
        memcpy(&value, from, sizeof value);
    else if (channels > 0)
        memcpy(&value, from, channels * sizeof(float));
    return value;
}

INLINE void store(float *to, vec value, long channels) {
    if (channels >= LANES)
        memcpy(to, &value, sizeof value);
    else if (channels > 0)
        memcpy(to, &value, channels * sizeof(float));
}

INLINE void add_to(float *to, vec value, long channels) {
    store(to, load(to, channels) + value, channels);
}

INLINE float total(vec value) {
    float lanes[LANES], sum = 0;
    memcpy(lanes, &value, sizeof lanes);
    for (int lane = 0; lane < LANES; lane++) sum += lanes[lane];
    return sum;
}

INLINE vec where(ivec mask, vec yes, vec no) {
    return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
}

/* 2^x for x <= 0: x = n + f with |f| <= 1/2, the polynomial of least relative error (9.2e-8) for 2^f
   with 2^0 = 1, and n added to the exponent's bits. 0 below the normal range. */
INLINE vec power_of_two(vec x) {
    const vec zero = {0}, shifted = x + 12582912.0f; /* 1.5 * 2^23 rounds to an integer */
    const vec f = x - (shifted - 12582912.0f);
    vec p = f * 1.326472731307149e-3f + 9.671512991189957e-3f;
    p = p * f + 5.550733581185341e-2f;
    p = p * f + 2.402224242687225e-1f;
    p = p * f + 6.931470036506653e-1f;
    p = p * f + 1.0f;
    return (vec)(((ivec)p + ((ivec)shifted << 23)) & (x > zero - 125.0f));
}

INLINE vec exp_of_minus_magnitude(vec x) {
    return power_of_two((vec)((ivec)x | INT32_MIN) * 1.44269504f);
}

INLINE vec sigmoid(vec x) {
    const vec zero = {0}, e = exp_of_minus_magnitude(x);
    return where(x > zero, zero + 1.0f, e) / (1.0f + e);
}

/* max(x, 0) + log(1 + e) with e = exp(-|x|), and log(1 + e) = 2 atanh(s) with s = e / (2 + e); the
   polynomial for atanh(s) / s has the least relative error (4.5e-9) for s <= 1/3. */
INLINE vec softplus(vec x) {
    const vec zero = {0};
    const vec e = exp_of_minus_magnitude(x);
    const vec s = e / (2.0f + e), s2 = s * s;
    vec p = s2 * 0.1400599479675293f + 0.14000903069972992f;
    p = p * s2 + 0.2001076340675354f;
    p = p * s2 + 0.3333320915699005f;
    p = p * s2 + 1.0f;
    return where(x < zero, zero, x) + 2.0f * s * p; /* a NaN stays one */
}

#endif
