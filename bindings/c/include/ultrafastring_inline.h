// UltraFastRing for C and C++: sending and receiving without a call, on exclusive sides.
//
// A call costs a stream more than its instructions: what a compiler saves before it, and the
// message that it writes to memory, wait in the processor behind the cache lines of the slots. Here
// the most common send and receive are compiled into the program, and take a call once in some
// messages.
//
//     ufr_inline_send(producer, &quote, sizeof quote, UFR_CLASS_NORMAL);
//
// They gain most if a message's size is known when the program is compiled, and if class and size
// are those of the message before. They fit any ring: where a call is needed they make it. That is
// so on shared sides, for consumers of rings with lanes, in rings with latency histograms, for
// messages above 40 bytes, on processors other than x86-64 and 64-bit Arm, and when messages come
// slowly. They can be mixed with all other functions.
//
// Unlike the other two headers, this one is written by hand. It compiles in C11 and in C++17.

#ifndef ULTRAFASTRING_INLINE_H
#define ULTRAFASTRING_INLINE_H

#include <string.h>

#include "ultrafastring.h"

// Whether anything is done without a call.
#if defined(__GNUC__) && ((defined(__x86_64__) && defined(__SSE2__)) ||                            \
                          (defined(__aarch64__) && defined(__AARCH64EL__)))
#define UFR_HAS_INLINE 1
#else
#define UFR_HAS_INLINE 0
#endif

#if UFR_HAS_INLINE && defined(__x86_64__)
#include <emmintrin.h>
#endif

#ifdef __cplusplus
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
extern "C" {
#endif // __cplusplus

// ---- what the library lends --------------------------------------------------------------------
//
// A producer begins with a stretch: the next positions, lent to this header for messages of one
// class and size. The functions that end in `_and_lend` do what a call does, and lend the next
// stretch. All other functions of the library first take back what is lent.
//
// Only this header uses what is in these structures. `abi.txt` keeps their layout.

typedef struct ufr_send_stretch {
    uint64_t position;       // the next; grows by one with each message, after it was written
    uint64_t end;            // positions below it are lent; 0 if none is
    unsigned char *slots;    // of 64 bytes: sequence, meta, timestamp, five words of the message
    uint64_t mask;           // of a position in its slot's index
    uint64_t meta;           // the second word of each slot
    size_t size;             // of each message, in bytes
    uint64_t stamp_mask;     // if `position & stamp_mask == stamp_equals`, it carries the time
    uint64_t stamp_equals;
    uint64_t due_by;         // after a message of a later time, a call is due
    uint64_t ahead_end;      // slots of positions below it may be prefetched for writing
    const uint32_t *bell;    // not 0: a call is due, since consumers sleep, or the ring was closed
    int32_t priority_class;  // of each message
} ufr_send_stretch;

// The same of a consumer.
typedef struct ufr_recv_stretch {
    uint64_t position;       // the next; grows by one with each message, after it was released
    uint64_t end;            // positions below it are lent; 0 if none is
    unsigned char *slots;    // as above
    uint64_t mask;
    uint64_t *head;          // gets the position after a message that was read, which releases it
    size_t size;             // of each message, in bytes
    uint64_t ahead;          // slots that far ahead are prefetched; 0 if none are
    uint64_t due_by;         // after a message that was received later, a call is due
    uint64_t latency_sum;    // of the messages that carried the time
    uint64_t latency_count;
    uint64_t latency_max;
    uint32_t kind;           // the low half of each slot's second word
    int32_t priority_class;  // of each message
} ufr_recv_stretch;

// As `ufr_send`.
int32_t ufr_send_and_lend(ufr_producer *producer, const void *data, size_t size,
                          int32_t priority_class);
// As `ufr_try_send`.
int32_t ufr_try_send_and_lend(ufr_producer *producer, const void *data, size_t size,
                              int32_t priority_class);
// What is due after a message of this time, or 0: announces it, wakes consumers. Returns `UFR_OK`.
int32_t ufr_announce_and_lend(ufr_producer *producer, uint64_t timestamp);
// As `ufr_recv`.
ptrdiff_t ufr_recv_and_lend(ufr_consumer *consumer, void *buffer, size_t capacity,
                            ufr_received *received);
// As `ufr_try_recv`.
ptrdiff_t ufr_try_recv_and_lend(ufr_consumer *consumer, void *buffer, size_t capacity,
                                ufr_received *received);
// What is due after a message that was received at this time: gives credit back. Returns `UFR_OK`.
int32_t ufr_grant_and_lend(ufr_consumer *consumer, uint64_t now);

#if UFR_HAS_INLINE

// What follows is for this header alone; functions for programs are at its end.

#define UFR_INLINE static inline __attribute__((always_inline, unused))
#define UFR_UNLIKELY(condition) __builtin_expect((condition) != 0, 0)

// The clock of the ring's timestamps.
UFR_INLINE uint64_t ufr_inline_ticks(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    uint64_t ticks;
    __asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#endif
}

// The word at byte `at` of a message. Bytes that the message does not have are zero.
UFR_INLINE uint64_t ufr_inline_word(const void *data, size_t size, size_t at) {
    uint64_t word = 0;
    if (size >= at + 8) {
        memcpy(&word, (const unsigned char *)data + at, 8);
    } else if (size > at) {
        // One by one, and not the last eight at once: a load that spans several earlier stores
        // waits until these have left the processor's store buffer.
        const unsigned char *const bytes = (const unsigned char *)data + at;
        size_t byte;
        for (byte = 0; byte < size - at; byte++) {
            word |= (uint64_t)bytes[byte] << (8 * byte);
        }
    }
    return word;
}

#if defined(__x86_64__)
// A word in the lower half of a vector register, from a register of its own: two words of a message
// that the caller has just stored are not loaded as one, for the reason above. Volatile: the compiler
// would keep vectors for another try of the caller's, and save them in memory, where a call is.
UFR_INLINE __m128i ufr_inline_vector(uint64_t word) {
    __asm__ __volatile__("" : "+r"(word));
    return _mm_cvtsi64_si128((long long)word);
}
#endif

// Writes a slot: the sequence, which makes the message visible, is stored last. Pairs with the
// acquire of whoever receives it.
UFR_INLINE void ufr_inline_commit(unsigned char *slot, uint64_t sequence, uint64_t meta,
                                  uint64_t timestamp, uint64_t a, uint64_t b, uint64_t c,
                                  uint64_t d, uint64_t e) {
#if defined(__x86_64__)
    // Four stores instead of eight, so that the store buffer has room for more slots. The library
    // lends only where a store of 16 bytes is atomic, so sequence and meta are seen together. The
    // processor keeps the order of stores, and the compiler that of this assembly.
    const __m128i first = _mm_set_epi64x((long long)meta, (long long)sequence);
    const __m128i second =
        _mm_unpacklo_epi64(_mm_cvtsi64_si128((long long)timestamp), ufr_inline_vector(a));
    const __m128i third = _mm_unpacklo_epi64(ufr_inline_vector(b), ufr_inline_vector(c));
    const __m128i fourth = _mm_unpacklo_epi64(ufr_inline_vector(d), ufr_inline_vector(e));
    __asm__ __volatile__("movaps %4, 48(%0)\n\t"
                         "movaps %3, 32(%0)\n\t"
                         "movaps %2, 16(%0)\n\t"
                         "movaps %1, (%0)"
                         :
                         : "r"(slot), "x"(first), "x"(second), "x"(third), "x"(fourth)
                         : "memory");
#else
    uint64_t *const words = (uint64_t *)(void *)slot;
    __atomic_store_n(words + 7, e, __ATOMIC_RELAXED);
    __atomic_store_n(words + 6, d, __ATOMIC_RELAXED);
    __atomic_store_n(words + 5, c, __ATOMIC_RELAXED);
    __atomic_store_n(words + 4, b, __ATOMIC_RELAXED);
    __atomic_store_n(words + 3, a, __ATOMIC_RELAXED);
    __atomic_store_n(words + 2, timestamp, __ATOMIC_RELAXED);
    __atomic_store_n(words + 1, meta, __ATOMIC_RELAXED);
    __atomic_store_n(words, sequence, __ATOMIC_RELEASE);
#endif
}

typedef int32_t ufr_inline_send_call(ufr_producer *, const void *, size_t, int32_t);

// Sends a message, by `call` if a call is needed.
UFR_INLINE int32_t ufr_inline_send_or(ufr_inline_send_call *call, ufr_producer *producer,
                                      const void *data, size_t size, int32_t priority_class) {
    ufr_send_stretch *const stretch = (ufr_send_stretch *)(void *)producer;
    uint64_t position, timestamp = 0;
    if (UFR_UNLIKELY(producer == NULL || data == NULL || size > 40 ||
                     stretch->position >= stretch->end || stretch->size != size ||
                     stretch->priority_class != priority_class)) {
        if (__builtin_constant_p(size) && size <= 40 && data != NULL) {
            // A copy, made only here: so the compiler may keep the caller's message in registers.
            uint64_t copy[5];
            copy[0] = ufr_inline_word(data, size, 0);
            copy[1] = ufr_inline_word(data, size, 8);
            copy[2] = ufr_inline_word(data, size, 16);
            copy[3] = ufr_inline_word(data, size, 24);
            copy[4] = ufr_inline_word(data, size, 32);
            return call(producer, copy, size, priority_class);
        }
        return call(producer, data, size, priority_class);
    }
    position = stretch->position;
    if ((position & stretch->stamp_mask) == stretch->stamp_equals) {
        timestamp = ufr_inline_ticks();
    }
#if defined(__x86_64__)
    if (position + 6 < stretch->ahead_end) {
        __asm__ __volatile__("prefetchw (%0)"
                             :
                             : "r"(stretch->slots + ((position + 6) & stretch->mask) * 64));
    }
#endif
    ufr_inline_commit(stretch->slots + (position & stretch->mask) * 64, position + 1, stretch->meta,
                      timestamp, ufr_inline_word(data, size, 0), ufr_inline_word(data, size, 8),
                      ufr_inline_word(data, size, 16), ufr_inline_word(data, size, 24),
                      ufr_inline_word(data, size, 32));
    stretch->position = position + 1;
    // After the commit: the fence that a consumer runs in this process before it sleeps comes after
    // this look's commit, or before this look. Relaxed: only the word matters.
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (UFR_UNLIKELY(timestamp > stretch->due_by ||
                     __atomic_load_n(stretch->bell, __ATOMIC_RELAXED) != 0)) {
        return ufr_announce_and_lend(producer, timestamp);
    }
    return UFR_OK;
}

typedef ptrdiff_t ufr_inline_recv_call(ufr_consumer *, void *, size_t, ufr_received *);

// Stores word `at` of a message of `size` bytes at `buffer`, or as much of it as there is.
UFR_INLINE void ufr_inline_store(void *buffer, size_t size, size_t at, uint64_t word) {
    if (size >= at + 8) {
        memcpy((unsigned char *)buffer + at, &word, 8);
    } else if (size > at) {
        unsigned char *const bytes = (unsigned char *)buffer + at;
        size_t byte;
        for (byte = 0; byte < size - at; byte++) {
            bytes[byte] = (unsigned char)(word >> (8 * byte));
        }
    }
}

// Receives a message, by `call` if a call is needed.
UFR_INLINE ptrdiff_t ufr_inline_recv_or(ufr_inline_recv_call *call, ufr_consumer *consumer,
                                        void *buffer, size_t capacity, ufr_received *received) {
    ufr_recv_stretch *const stretch = (ufr_recv_stretch *)(void *)consumer;
    const uint64_t *slot;
    uint64_t position, next, timestamp, now = 0, latency = 0, a, b, c, d, e;
    size_t size;
    if (UFR_UNLIKELY(consumer == NULL || buffer == NULL)) {
        return call(consumer, buffer, capacity, received);
    }
    position = stretch->position;
    size = stretch->size;
    if (UFR_UNLIKELY(position >= stretch->end || size > capacity)) {
        return call(consumer, buffer, capacity, received);
    }
    next = position + 1;
    // The compiler is kept from taking the sequence, once it is known to be equal, for the next
    // position: the address of the next slot would have to wait for this one's line.
    __asm__("" : "+r"(next));
    slot = (const uint64_t *)(const void *)(stretch->slots + (position & stretch->mask) * 64);
    // Acquire: pairs with the release of the sequence by its producer.
    if (UFR_UNLIKELY(__atomic_load_n(slot, __ATOMIC_ACQUIRE) != position + 1 ||
                     (uint32_t)__atomic_load_n(slot + 1, __ATOMIC_RELAXED) != stretch->kind)) {
        return call(consumer, buffer, capacity, received);
    }
#if defined(__x86_64__)
    if (stretch->ahead != 0) {
        __builtin_prefetch(stretch->slots + ((position + stretch->ahead) & stretch->mask) * 64);
    }
#endif
    // Relaxed: ordered after the commit by the acquire.
    timestamp = __atomic_load_n(slot + 2, __ATOMIC_RELAXED);
    a = __atomic_load_n(slot + 3, __ATOMIC_RELAXED);
    b = __atomic_load_n(slot + 4, __ATOMIC_RELAXED);
    c = __atomic_load_n(slot + 5, __ATOMIC_RELAXED);
    d = __atomic_load_n(slot + 6, __ATOMIC_RELAXED);
    e = __atomic_load_n(slot + 7, __ATOMIC_RELAXED);
    // Release: who writes the slot next, or succeeds this consumer, has these reads behind it.
    __atomic_store_n(stretch->head, next, __ATOMIC_RELEASE);
    stretch->position = next;
    if (size == 40) {
        ufr_inline_store(buffer, 40, 0, a);
        ufr_inline_store(buffer, 40, 8, b);
        ufr_inline_store(buffer, 40, 16, c);
        ufr_inline_store(buffer, 40, 24, d);
        ufr_inline_store(buffer, 40, 32, e);
    } else {
        ufr_inline_store(buffer, size, 0, a);
        ufr_inline_store(buffer, size, 8, b);
        ufr_inline_store(buffer, size, 16, c);
        ufr_inline_store(buffer, size, 24, d);
        ufr_inline_store(buffer, size, 32, e);
    }
    if (timestamp != 0) {
        now = ufr_inline_ticks();
        latency = now > timestamp ? now - timestamp : 0;
        stretch->latency_sum += latency;
        stretch->latency_count += 1;
        if (latency > stretch->latency_max) {
            stretch->latency_max = latency;
        }
    }
    if (received != NULL) {
        received->size = size;
        received->position = position;
        received->timestamp = timestamp;
        received->latency = latency;
        received->priority_class = stretch->priority_class;
        received->redelivered = 0;
        received->late = 0;
    }
    if (UFR_UNLIKELY(now > stretch->due_by)) {
        ufr_grant_and_lend(consumer, now);
    }
    return (ptrdiff_t)size;
}

#else // UFR_HAS_INLINE

#define UFR_INLINE static inline
#define ufr_inline_send_or(call, producer, data, size, priority_class)                             \
    call(producer, data, size, priority_class)
#define ufr_inline_recv_or(call, consumer, buffer, capacity, received)                             \
    call(consumer, buffer, capacity, received)

#endif // UFR_HAS_INLINE

// ---- for programs -------------------------------------------------------------------------------

// As `ufr_send`, without a call if it can be.
UFR_INLINE int32_t ufr_inline_send(ufr_producer *producer, const void *data, size_t size,
                                   int32_t priority_class) {
    return ufr_inline_send_or(ufr_send_and_lend, producer, data, size, priority_class);
}

// As `ufr_try_send`, without a call if it can be.
UFR_INLINE int32_t ufr_inline_try_send(ufr_producer *producer, const void *data, size_t size,
                                       int32_t priority_class) {
    return ufr_inline_send_or(ufr_try_send_and_lend, producer, data, size, priority_class);
}

// As `ufr_recv`, without a call if it can be.
UFR_INLINE ptrdiff_t ufr_inline_recv(ufr_consumer *consumer, void *buffer, size_t capacity,
                                     ufr_received *received) {
    return ufr_inline_recv_or(ufr_recv_and_lend, consumer, buffer, capacity, received);
}

// As `ufr_try_recv`, without a call if it can be.
UFR_INLINE ptrdiff_t ufr_inline_try_recv(ufr_consumer *consumer, void *buffer, size_t capacity,
                                         ufr_received *received) {
    return ufr_inline_recv_or(ufr_try_recv_and_lend, consumer, buffer, capacity, received);
}

#ifdef __cplusplus
} // extern "C"
#pragma GCC diagnostic pop
#endif // __cplusplus

#endif // ULTRAFASTRING_INLINE_H
