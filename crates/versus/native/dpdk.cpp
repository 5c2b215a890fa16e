// DPDK's rte_ring, with elements of a message each, in memory of our own: no hugepages and no
// environment layer are needed for that.

#include <cstdlib>
#include <new>

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "loops.hpp"

template <std::size_t N, unsigned FLAGS> struct Ring {
    rte_ring* ring;

    explicit Ring(std::size_t capacity) {
        // One slot of a ring stays free.
        const unsigned count = unsigned(capacity);
        const ssize_t bytes = rte_ring_get_memsize_elem(N, count);
        if (bytes < 0) {
            throw std::bad_alloc();
        }
        const std::size_t whole = (std::size_t(bytes) + 127) / 128 * 128;
        ring = static_cast<rte_ring*>(std::aligned_alloc(128, whole));
        if (!ring || rte_ring_init(ring, "versus", count, FLAGS) != 0) {
            std::free(ring);
            throw std::bad_alloc();
        }
    }
    ~Ring() { std::free(ring); }

    bool send(const Message<N>& message) {
        return rte_ring_enqueue_bulk_elem(ring, &message, N, 1, nullptr) == 1;
    }
    bool receive(Message<N>& message) {
        return rte_ring_dequeue_bulk_elem(ring, &message, N, 1, nullptr) == 1;
    }
};

template <std::size_t N> using Single = Ring<N, RING_F_SP_ENQ | RING_F_SC_DEQ>;
template <std::size_t N> using Many = Ring<N, 0>;
// Threads that were descheduled are waited for only at the tail.
template <std::size_t N> using Relaxed = Ring<N, RING_F_MP_RTS_ENQ | RING_F_MC_RTS_DEQ>;

VERSUS_QUEUES(dpdk_spsc, Single)
VERSUS_QUEUES(dpdk_mpmc, Many)
VERSUS_QUEUES(dpdk_rts, Relaxed)
