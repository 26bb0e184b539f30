// The yardstick of the simulator's kernel: one layer in mode `both`, written by hand with AVX-512
// intrinsics for one machine: 32 units, 128-position chunks, one filter a unit, one multiplier,
// interleaved positions, whole filters, double-buffered. It does the same joins and the same
// recurrence (docs/machine.md, Timing) and keeps the sums of busy, cost and sibling waits.
#include <immintrin.h>
#include <stdint.h>

#ifndef __AVX512VPOPCNTDQ__
#error "this loop needs a processor with AVX-512 VPOPCNTDQ"
#endif

enum { UNITS = 32, WORDS = 4, SLOTS_MAX = 17 };

typedef struct {
    int32_t start, release, load, load_free, deliver, collector_free, tail;
} latency_t;

typedef struct {
    int32_t clusters, slots, passes, positions, filter_chunks, drain_cycles;
    const int32_t *window;           // axes position, filter chunk: index of the input chunk
    const uint32_t *masks;           // axes input chunk, word
    const uint16_t *broadcast_words; // axis input chunk
    const uint32_t *filters;         // axes pass, filter chunk, word, unit
    const int64_t *load_beats;       // axis pass
} layer_t;

static inline int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }

static inline __m512i count(const uint32_t *filter, __m512i mask) {
    return _mm512_popcnt_epi32(_mm512_and_si512(mask, _mm512_loadu_si512(filter)));
}

static inline __m512i count_pairs(const uint32_t *filter, __m512i m0, __m512i m1, __m512i m2,
                                  __m512i m3) {
    __m512i low = _mm512_add_epi32(count(filter, m0), count(filter + UNITS, m1));
    __m512i high = _mm512_add_epi32(count(filter + 2 * UNITS, m2), count(filter + 3 * UNITS, m3));
    return _mm512_add_epi32(low, high);
}

static inline __m512i waited(__m512i finish, __m512i sent) {
    return _mm512_sub_epi32(_mm512_max_epi32(finish, sent), finish);
}

// Add busy, cost and sibling waits of each unit to sums; return the slowest cluster's cycles.
int64_t run_layer(const layer_t *layer, const latency_t *latency, int64_t *sums) {
    const __m512i one = _mm512_set1_epi32(1), zero = _mm512_setzero_si512();
    int64_t slowest = 0;
    for (int32_t m = 0; m < layer->clusters; m++) {
        int32_t ring[SLOTS_MAX], slot = 0, arrived = latency->start, loaded = 0, drained = 0;
        int32_t released = 0, released_before = 0, collector_free = 0;
        __m512i finish0 = zero, finish1 = zero, busy0 = zero, busy1 = zero;
        __m512i cost0 = zero, cost1 = zero, siblings0 = zero, siblings1 = zero;
        for (int32_t i = 0; i < layer->slots; i++) ring[i] = -latency->release;
        for (int32_t pass = 0; pass < layer->passes; pass++) {
            int32_t longest = 0;
            loaded = larger(loaded, released_before) + (int32_t)layer->load_beats[pass];
            released_before = released;
            arrived = larger(arrived, loaded + latency->load);
            finish0 = _mm512_max_epi32(finish0, _mm512_set1_epi32(arrived));
            finish1 = _mm512_max_epi32(finish1, _mm512_set1_epi32(arrived));
            for (int32_t position = m; position < layer->positions; position += layer->clusters) {
                const int32_t *window = layer->window + (int64_t)position * layer->filter_chunks;
                const uint32_t *filter =
                    layer->filters + (int64_t)pass * layer->filter_chunks * WORDS * UNITS;
                for (int32_t chunk = 0; chunk < layer->filter_chunks; chunk++) {
                    int32_t at = window[chunk], taken = layer->broadcast_words[at];
                    if (taken == 0) {
                        if (chunk < layer->filter_chunks - 1) {
                            __m512i now = _mm512_set1_epi32(++arrived);
                            finish0 = _mm512_max_epi32(finish0, now);
                            finish1 = _mm512_max_epi32(finish1, now);
                            filter += WORDS * UNITS;
                            continue;
                        }
                        taken = 1;
                    }
                    int32_t begun = larger(arrived, ring[slot] + latency->release);
                    arrived = begun + taken;
                    const uint32_t *mask = layer->masks + (int64_t)at * WORDS;
                    __m512i m0 = _mm512_set1_epi32(mask[0]), m1 = _mm512_set1_epi32(mask[1]);
                    __m512i m2 = _mm512_set1_epi32(mask[2]), m3 = _mm512_set1_epi32(mask[3]);
                    __m512i pairs0 = count_pairs(filter, m0, m1, m2, m3);
                    __m512i pairs1 = count_pairs(filter + UNITS / 2, m0, m1, m2, m3);
                    __m512i takes0 = _mm512_max_epi32(pairs0, one);
                    __m512i takes1 = _mm512_max_epi32(pairs1, one);
                    __m512i sent = _mm512_set1_epi32(begun), now = _mm512_set1_epi32(arrived);
                    busy0 = _mm512_add_epi32(busy0, pairs0);
                    busy1 = _mm512_add_epi32(busy1, pairs1);
                    cost0 = _mm512_add_epi32(cost0, takes0);
                    cost1 = _mm512_add_epi32(cost1, takes1);
                    siblings0 = _mm512_add_epi32(siblings0, waited(finish0, sent));
                    siblings1 = _mm512_add_epi32(siblings1, waited(finish1, sent));
                    finish0 = _mm512_add_epi32(_mm512_max_epi32(finish0, now), takes0);
                    finish1 = _mm512_add_epi32(_mm512_max_epi32(finish1, now), takes1);
                    longest = _mm512_reduce_max_epi32(_mm512_max_epi32(finish0, finish1));
                    if (chunk == layer->filter_chunks - 1) {
                        if (collector_free > arrived) {
                            __m512i late = _mm512_set1_epi32(collector_free);
                            finish0 = _mm512_max_epi32(finish0, late);
                            finish1 = _mm512_max_epi32(finish1, late);
                            longest = larger(longest, collector_free);
                        }
                        drained = longest + latency->deliver + layer->drain_cycles;
                        collector_free = drained + latency->collector_free;
                    }
                    ring[slot] = longest;
                    if (++slot == layer->slots) slot = 0;
                    filter += WORDS * UNITS;
                }
            }
            released = longest + latency->load_free;
        }
        int32_t units[3 * UNITS];
        _mm512_storeu_si512(units, busy0), _mm512_storeu_si512(units + 16, busy1);
        _mm512_storeu_si512(units + 32, cost0), _mm512_storeu_si512(units + 48, cost1);
        _mm512_storeu_si512(units + 64, siblings0), _mm512_storeu_si512(units + 80, siblings1);
        for (int32_t i = 0; i < 3 * UNITS; i++) sums[i] += units[i];
        slowest = drained + latency->tail > slowest ? drained + latency->tail : slowest;
    }
    return slowest;
}
