// The loops of the patterns for queues in C++, as `src/pattern.rs` has them, so that a call into
// the queue is inlined here as well; and single calls for the patterns in which they do not count.
//
// A queue is a class Queue<N> with
//
//     bool send(const Message<N>&);      false if there was no room
//     bool receive(Message<N>&);         false if there was none

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <x86intrin.h>
inline std::uint64_t ticks() { return __rdtsc(); }
#else
#include <time.h>
inline std::uint64_t ticks() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::uint64_t(now.tv_sec) * 1000000000u + std::uint64_t(now.tv_nsec);
}
#endif

template <std::size_t N> struct Message {
    unsigned char bytes[N];
};

inline std::uint64_t word(std::uint64_t n, std::size_t at) { return n + at * 0x9e3779b9u; }

template <std::size_t N> inline Message<N> message(std::uint64_t n) {
    Message<N> made;
    for (std::size_t at = 0; at < N / 8; at++) {
        const std::uint64_t said = word(n, at);
        std::memcpy(made.bytes + 8 * at, &said, 8);
    }
    return made;
}

template <std::size_t N> inline bool is(const Message<N>& message, std::uint64_t n) {
    std::uint64_t differ = 0;
    for (std::size_t at = 0; at < N / 8; at++) {
        std::uint64_t said;
        std::memcpy(&said, message.bytes + 8 * at, 8);
        differ |= said ^ word(n, at);
    }
    return differ == 0;
}

template <class Q, std::size_t N> void send_stream(Q& queue, std::uint64_t n) {
    for (std::uint64_t i = 0; i < n; i++) {
        const Message<N> next = message<N>(i);
        while (!queue.send(next)) {
        }
    }
}

// Ticks from the first eighth on, or 0 if a message came changed or out of order.
template <class Q, std::size_t N> std::uint64_t receive_stream(Q& queue, std::uint64_t n) {
    Message<N> got;
    std::uint64_t start = 0;
    for (std::uint64_t i = 0; i < n; i++) {
        if (i == n / 8) {
            start = ticks();
        }
        while (!queue.receive(got)) {
        }
        if (!is(got, i)) {
            return 0;
        }
    }
    return ticks() - start;
}

template <class Q, std::size_t N> std::uint64_t ping(Q& there, Q& back, std::uint64_t n) {
    Message<N> got;
    std::uint64_t start = 0;
    for (std::uint64_t i = 0; i < n; i++) {
        if (i == n / 8) {
            start = ticks();
        }
        const Message<N> next = message<N>(i);
        while (!there.send(next)) {
        }
        while (!back.receive(got)) {
        }
        if (!is(got, i)) {
            return 0;
        }
    }
    return ticks() - start;
}

template <class Q, std::size_t N> void echo(Q& there, Q& back, std::uint64_t n) {
    Message<N> got;
    for (std::uint64_t i = 0; i < n; i++) {
        while (!there.receive(got)) {
        }
        while (!back.send(got)) {
        }
    }
}

// What Rust sees of a queue: see `Table` in `src/native.rs`.
struct Table {
    void* (*create)(std::size_t capacity);
    void (*destroy)(void* queue);
    bool (*send)(void* queue, const void* message);
    bool (*receive)(void* queue, void* message);
    void (*send_stream)(void* queue, std::uint64_t n);
    std::uint64_t (*receive_stream)(void* queue, std::uint64_t n);
    std::uint64_t (*ping)(void* there, void* back, std::uint64_t n);
    void (*echo)(void* there, void* back, std::uint64_t n);
};

template <class Q, std::size_t N> constexpr Table table() {
    return {
        [](std::size_t capacity) -> void* {
            // Nothing may be thrown into Rust.
            try {
                return new Q(capacity);
            } catch (...) {
                return nullptr;
            }
        },
        [](void* queue) { delete static_cast<Q*>(queue); },
        [](void* queue, const void* message) {
            return static_cast<Q*>(queue)->send(*static_cast<const Message<N>*>(message));
        },
        [](void* queue, void* message) {
            return static_cast<Q*>(queue)->receive(*static_cast<Message<N>*>(message));
        },
        [](void* queue, std::uint64_t n) { send_stream<Q, N>(*static_cast<Q*>(queue), n); },
        [](void* queue, std::uint64_t n) {
            return receive_stream<Q, N>(*static_cast<Q*>(queue), n);
        },
        [](void* there, void* back, std::uint64_t n) {
            return ping<Q, N>(*static_cast<Q*>(there), *static_cast<Q*>(back), n);
        },
        [](void* there, void* back, std::uint64_t n) {
            echo<Q, N>(*static_cast<Q*>(there), *static_cast<Q*>(back), n);
        },
    };
}

#define VERSUS_QUEUES(NAME, QUEUE)                                                                 \
    extern "C" {                                                                                   \
    extern const Table NAME##_8;                                                                   \
    extern const Table NAME##_40;                                                                  \
    const Table NAME##_8 = table<QUEUE<8>, 8>();                                                   \
    const Table NAME##_40 = table<QUEUE<40>, 40>();                                                \
    }
