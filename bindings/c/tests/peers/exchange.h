// What the peers in C and C++ have in common: messages that follow from their numbers, and the log of
// the kill matrix. `peer.rs` says the same in Rust.

#ifndef EXCHANGE_H
#define EXCHANGE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

// Bytes of the largest message.
enum { LARGEST = 2000 };

// Messages that a run of the kill matrix may send.
enum { MOST = 1 << 25 };

// Shared by all processes of a run, in a file. A message that is begun to be sent is 1 in `sent`, one
// whose send has returned 2; one that is received counts in the low half of `received`, or in the high
// half if it was marked as redelivered.
struct exchange_log {
    uint64_t next;
    uint64_t stop;
    // Whether every other message is a large one.
    uint64_t large;
    // The number from which on none is begun yet: between two kills a part of the log is filled.
    uint64_t until;
    uint8_t sent[MOST];
    uint8_t received[MOST];
};

// Small messages have one size and class for this many, one after the other: inline code sends such
// ones by itself.
enum { ALIKE = 16 };

static inline size_t exchange_size(uint64_t number, int large) {
    return large ? 41 + (size_t)(number * 37 % (LARGEST - 40)) : 8 + (size_t)(number / ALIKE % 33);
}

static inline int32_t exchange_class(uint64_t number) { return (int32_t)(number / ALIKE % 5); }

// How a worker sends it: in turn one by one, written in place, and in batches.
static inline uint64_t exchange_way(uint64_t number) { return number / ALIKE % 3; }

// Writes message `number`, and says how long it is.
static inline size_t exchange_fill(unsigned char *to, uint64_t number, int large) {
    const size_t size = exchange_size(number, large);
    memcpy(to, &number, 8);
    memset(to + 8, (unsigned char)(number * 31), size - 8);
    return size;
}

// Whether these bytes are message `number`.
static inline int exchange_is(const unsigned char *bytes, size_t size, uint64_t number, int large) {
    uint64_t said;
    size_t at;
    unsigned char differ = 0;
    const unsigned char filling = (unsigned char)(number * 31);
    if (size != exchange_size(number, large)) {
        return 0;
    }
    memcpy(&said, bytes, 8);
    for (at = 8; at < size; at++) {
        differ = (unsigned char)(differ | (bytes[at] ^ filling));
    }
    return said == number && differ == 0;
}

static inline int exchange_stopped(struct exchange_log *log) {
    return __atomic_load_n(&log->stop, __ATOMIC_SEQ_CST) != 0;
}

static inline int exchange_is_large(struct exchange_log *log, uint64_t number) {
    return log->large != 0 && number % 2 == 0;
}

// Waits until messages may be begun; 0 if the workers are to stop.
static inline int exchange_goes_on(struct exchange_log *log) {
    const struct timespec pause = {0, 100000};
    while (!exchange_stopped(log)) {
        if (__atomic_load_n(&log->next, __ATOMIC_SEQ_CST) <
            __atomic_load_n(&log->until, __ATOMIC_SEQ_CST)) {
            return 1;
        }
        nanosleep(&pause, NULL);
    }
    return 0;
}

// Takes the next `count` numbers.
static inline uint64_t exchange_next(struct exchange_log *log, uint64_t count) {
    const uint64_t first = __atomic_fetch_add(&log->next, count, __ATOMIC_SEQ_CST);
    uint64_t at;
    for (at = first; at < first + count && at < MOST; at++) {
        __atomic_store_n(&log->sent[at], 1, __ATOMIC_SEQ_CST);
    }
    return first;
}

static inline void exchange_sent(struct exchange_log *log, uint64_t number) {
    __atomic_store_n(&log->sent[number], 2, __ATOMIC_SEQ_CST);
}

// Logs a message; 0 if it is none that was sent.
static inline int exchange_received(struct exchange_log *log, const unsigned char *bytes,
                                    size_t size, int redelivered) {
    uint64_t number;
    if (size < 8) {
        return 0;
    }
    memcpy(&number, bytes, 8);
    if (number >= MOST || !exchange_is(bytes, size, number, exchange_is_large(log, number))) {
        return 0;
    }
    __atomic_fetch_add(&log->received[number], redelivered ? 16 : 1, __ATOMIC_SEQ_CST);
    return 1;
}

#endif
