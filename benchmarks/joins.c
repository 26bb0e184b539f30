// The yardstick of the simulator's kernel: one layer in mode `both`, written by hand with intrinsics
// for one machine: 32 units, 128-position chunks, one filter a unit, one multiplier, interleaved
// positions, whole filters, double-buffered. It does the same joins and the same recurrence
// (docs/machine.md, Timing) and keeps the sums of busy, cost and sibling waits.
//
// Processors differ in how they count ones. AVX-512 VPOPCNTDQ counts those of a 32-bit word in one
// instruction. AVX2 looks them up by nibbles; the counts are added as bytes over the words of a
// mask and widened once.
#include <immintrin.h>
#include <stdint.h>

enum { UNITS = 32, SLOTS_MAX = 17 };

typedef struct {
    int32_t start, release, load, load_free, deliver, collector_free, tail;
} latency_t;

typedef struct {
    int32_t clusters, slots, passes, positions, filter_chunks, drain_cycles;
    const int32_t *window;           // axes position, filter chunk: index of the input chunk
    const void *masks;               // axes input chunk, word
    const uint16_t *broadcast_words; // axis input chunk
    const void *filters;             // axes pass, filter chunk, word, unit
    const int64_t *load_beats;       // axis pass
} layer_t;

static inline int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }

#if defined(__AVX512VPOPCNTDQ__)

typedef uint32_t word_t;
typedef __m512i times_t; // of 16 units

#define SPLAT(value) _mm512_set1_epi32(value)
#define ADD(a, b) _mm512_add_epi32(a, b)
#define SUBTRACT(a, b) _mm512_sub_epi32(a, b)
#define MAXIMUM(a, b) _mm512_max_epi32(a, b)
#define STORE(to, a) _mm512_storeu_si512(to, a)
#define LARGEST(a) _mm512_reduce_max_epi32(a)

static inline __m512i ones(const word_t *filter, __m512i mask) {
    return _mm512_popcnt_epi32(_mm512_and_si512(mask, _mm512_loadu_si512(filter)));
}

static inline __m512i block_pairs(const word_t *filter, const __m512i *mask) {
    __m512i low = _mm512_add_epi32(ones(filter, mask[0]), ones(filter + UNITS, mask[1]));
    __m512i high = _mm512_add_epi32(ones(filter + 2 * UNITS, mask[2]),
                                    ones(filter + 3 * UNITS, mask[3]));
    return _mm512_add_epi32(low, high);
}

static inline void count_pairs(const word_t *filter, const word_t *mask, times_t *pairs) {
    __m512i words[4];
    for (int i = 0; i < 4; i++) words[i] = _mm512_set1_epi32(mask[i]);
    pairs[0] = block_pairs(filter, words);
    pairs[1] = block_pairs(filter + 16, words);
}

#elif defined(__AVX2__)

typedef uint16_t word_t;
typedef __m256i times_t; // of 8 units

#define SPLAT(value) _mm256_set1_epi32(value)
#define ADD(a, b) _mm256_add_epi32(a, b)
#define SUBTRACT(a, b) _mm256_sub_epi32(a, b)
#define MAXIMUM(a, b) _mm256_max_epi32(a, b)
#define STORE(to, a) _mm256_storeu_si256((__m256i *)(to), a)
#define LARGEST(a) largest_of(a)

static inline int32_t largest_of(__m256i a) {
    __m128i b = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    b = _mm_max_epi32(b, _mm_shuffle_epi32(b, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(b, _mm_shuffle_epi32(b, 0xb1)));
}

static inline __m256i ones(const word_t *filter, __m256i mask) {
    const __m256i table = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i both = _mm256_and_si256(mask, _mm256_loadu_si256((const __m256i *)filter));
    __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(both, nibble));
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble);
    return _mm256_add_epi8(low, _mm256_shuffle_epi8(table, high));
}

static inline void count_pairs(const word_t *filter, const word_t *mask, times_t *pairs) {
    __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int word = 0; word < 8; word++) {
        __m256i splat = _mm256_set1_epi16(mask[word]);
        sums[0] = _mm256_add_epi8(sums[0], ones(filter + word * UNITS, splat));
        sums[1] = _mm256_add_epi8(sums[1], ones(filter + word * UNITS + 16, splat));
    }
    for (int half = 0; half < 2; half++) {
        __m256i wide = _mm256_add_epi16(_mm256_and_si256(sums[half], _mm256_set1_epi16(255)),
                                        _mm256_srli_epi16(sums[half], 8));
        pairs[2 * half] = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(wide));
        pairs[2 * half + 1] = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(wide, 1));
    }
}

#else
#error "this loop needs a processor with AVX2, or with AVX-512 VPOPCNTDQ"
#endif

enum {
    WORDS = 128 / (8 * sizeof(word_t)),
    LANES = sizeof(times_t) / sizeof(int32_t),
    BLOCKS = UNITS / LANES,
};

int32_t word_bits(void) { return 8 * sizeof(word_t); }

// Add busy, cost and sibling waits of each unit to sums; return the slowest cluster's cycles.
int64_t run_layer(const layer_t *layer, const latency_t *latency, int64_t *sums) {
    const times_t one = SPLAT(1), zero = SPLAT(0);
    int64_t slowest = 0;
    for (int32_t m = 0; m < layer->clusters; m++) {
        int32_t ring[SLOTS_MAX], slot = 0, arrived = latency->start, loaded = 0, drained = 0;
        int32_t released = 0, released_before = 0, collector_free = 0;
        times_t finish[BLOCKS], busy[BLOCKS], cost[BLOCKS], siblings[BLOCKS];
        for (int i = 0; i < BLOCKS; i++) finish[i] = busy[i] = cost[i] = siblings[i] = zero;
        for (int32_t i = 0; i < layer->slots; i++) ring[i] = -latency->release;
        for (int32_t pass = 0; pass < layer->passes; pass++) {
            int32_t longest = 0;
            loaded = larger(loaded, released_before) + (int32_t)layer->load_beats[pass];
            released_before = released;
            arrived = larger(arrived, loaded + latency->load);
            for (int i = 0; i < BLOCKS; i++) finish[i] = MAXIMUM(finish[i], SPLAT(arrived));
            for (int32_t position = m; position < layer->positions; position += layer->clusters) {
                const int32_t *window = layer->window + (int64_t)position * layer->filter_chunks;
                const word_t *filter = (const word_t *)layer->filters +
                                       (int64_t)pass * layer->filter_chunks * WORDS * UNITS;
                for (int32_t chunk = 0; chunk < layer->filter_chunks; chunk++) {
                    int32_t at = window[chunk], taken = layer->broadcast_words[at];
                    if (taken == 0) {
                        if (chunk < layer->filter_chunks - 1) {
                            times_t now = SPLAT(++arrived);
                            for (int i = 0; i < BLOCKS; i++) finish[i] = MAXIMUM(finish[i], now);
                            filter += WORDS * UNITS;
                            continue;
                        }
                        taken = 1;
                    }
                    int32_t begun = larger(arrived, ring[slot] + latency->release);
                    arrived = begun + taken;
                    times_t sent = SPLAT(begun), now = SPLAT(arrived), pairs[BLOCKS], most = zero;
                    count_pairs(filter, (const word_t *)layer->masks + (int64_t)at * WORDS, pairs);
                    for (int i = 0; i < BLOCKS; i++) {
                        times_t takes = MAXIMUM(pairs[i], one);
                        busy[i] = ADD(busy[i], pairs[i]);
                        cost[i] = ADD(cost[i], takes);
                        times_t waited = SUBTRACT(MAXIMUM(finish[i], sent), finish[i]);
                        siblings[i] = ADD(siblings[i], waited);
                        finish[i] = ADD(MAXIMUM(finish[i], now), takes);
                        most = MAXIMUM(most, finish[i]);
                    }
                    longest = LARGEST(most);
                    if (chunk == layer->filter_chunks - 1) {
                        if (collector_free > arrived) {
                            times_t late = SPLAT(collector_free);
                            for (int i = 0; i < BLOCKS; i++) finish[i] = MAXIMUM(finish[i], late);
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
        int32_t units[3][UNITS];
        for (int i = 0; i < BLOCKS; i++) {
            STORE(units[0] + LANES * i, busy[i]);
            STORE(units[1] + LANES * i, cost[i]);
            STORE(units[2] + LANES * i, siblings[i]);
        }
        for (int32_t i = 0; i < 3 * UNITS; i++) sums[i] += units[i / UNITS][i % UNITS];
        slowest = larger(slowest, drained + latency->tail);
    }
    return slowest;
}
