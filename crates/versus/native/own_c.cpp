// The ring itself, called through its library for C from a program that is not in Rust: what the call
// costs. `src/own_c.rs` says how this is linked.

#include <cstdlib>

#include <ultrafastring_inline.h>
#include <ultrafastring_more.h>

#include "loops.hpp"

namespace {

// One end of a named ring; each process has the one that it needs. By calls, or by the inline header.
template <std::size_t N, bool Inline> struct Ring {
    ufr_producer* producer = nullptr;
    ufr_consumer* consumer = nullptr;

    bool send(const Message<N>& message) {
        const void* const data = message.bytes;
        if constexpr (Inline) {
            // It tries again by itself. If the loop did, GCC would keep the message in memory for
            // that.
            if (ufr_inline_send(producer, data, N, UFR_CLASS_NORMAL) != UFR_OK) {
                std::abort();
            }
            return true;
        } else {
            return ufr_try_send(producer, data, N, UFR_CLASS_NORMAL) == UFR_OK;
        }
    }
    bool receive(Message<N>& message) {
        std::ptrdiff_t size;
        if constexpr (Inline) {
            size = ufr_inline_try_recv(consumer, message.bytes, N, nullptr);
        } else {
            size = ufr_try_recv(consumer, message.bytes, N, nullptr);
        }
        if (size != static_cast<std::ptrdiff_t>(N) && size != UFR_ERR_EMPTY) {
            std::abort();
        }
        return size >= 0;
    }
};

template <bool Inline> void send(ufr_producer* producer, std::uint64_t n) {
    Ring<40, Inline> ring;
    ring.producer = producer;
    send_stream<Ring<40, Inline>, 40>(ring, n);
}
template <bool Inline> std::uint64_t receive(ufr_consumer* consumer, std::uint64_t n) {
    Ring<40, Inline> ring;
    ring.consumer = consumer;
    return receive_stream<Ring<40, Inline>, 40>(ring, n);
}

} // namespace

extern "C" {

// Null if it cannot be made, or opened.
ufr_ring* versus_c_create(const char* name, std::size_t capacity, std::int32_t timestamps) {
    ufr_settings settings;
    ufr_settings_init(&settings);
    settings.capacity = capacity;
    settings.producer_side = settings.consumer_side = UFR_SIDE_EXCLUSIVE;
    settings.timestamps = timestamps;
    ufr_ring* ring = nullptr;
    ufr_ring_create(name, &settings, &ring);
    return ring;
}
ufr_ring* versus_c_open(const char* name) {
    ufr_ring* ring = nullptr;
    ufr_ring_open(name, &ring);
    return ring;
}
void versus_c_free(ufr_ring* ring, const char* remove) {
    ufr_ring_free(ring);
    if (remove != nullptr) {
        ufr_ring_remove(remove);
    }
}
ufr_producer* versus_c_producer(ufr_ring* ring) {
    ufr_producer* producer = nullptr;
    ufr_producer_new(ring, &producer);
    // Where it waits: at once again, as all others.
    ufr_producer_set_wait(producer, UFR_WAIT_SPIN);
    return producer;
}
ufr_consumer* versus_c_consumer(ufr_ring* ring) {
    ufr_consumer* consumer = nullptr;
    ufr_consumer_new(ring, &consumer);
    return consumer;
}
void versus_c_free_handles(ufr_producer* producer, ufr_consumer* consumer) {
    ufr_producer_free(producer);
    ufr_consumer_free(consumer);
}

void versus_c_send_stream(ufr_producer* producer, std::uint64_t n) {
    send<false>(producer, n);
}
void versus_c_send_stream_inline(ufr_producer* producer, std::uint64_t n) {
    send<true>(producer, n);
}
// Ticks from the first eighth on, or 0 if a message came changed or out of order.
std::uint64_t versus_c_receive_stream(ufr_consumer* consumer, std::uint64_t n) {
    return receive<false>(consumer, n);
}
std::uint64_t versus_c_receive_stream_inline(ufr_consumer* consumer, std::uint64_t n) {
    return receive<true>(consumer, n);
}
}
