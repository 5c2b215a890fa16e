// moodycamel::ConcurrentQueue: any number of either; bounded by what it was made with, and in
// order only for each producer.

#include <concurrentqueue/concurrentqueue.h>

#include "loops.hpp"

template <std::size_t N> struct Concurrent {
    moodycamel::ConcurrentQueue<Message<N>> queue;

    // Sixteen producers at most, each with a block of its own.
    explicit Concurrent(std::size_t capacity) : queue(capacity, 0, 16) {}
    bool send(const Message<N>& message) { return queue.try_enqueue(message); }
    bool receive(Message<N>& message) { return queue.try_dequeue(message); }
};

VERSUS_QUEUES(moodycamel_mpmc, Concurrent)
