// boost::lockfree: a queue for one of either, and one for any number.

#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>

#include "loops.hpp"

template <std::size_t N> struct Single {
    boost::lockfree::spsc_queue<Message<N>> queue;

    explicit Single(std::size_t capacity) : queue(capacity) {}
    bool send(const Message<N>& message) { return queue.push(message); }
    bool receive(Message<N>& message) { return queue.pop(message); }
};

template <std::size_t N> struct Many {
    boost::lockfree::queue<Message<N>> queue;

    explicit Many(std::size_t capacity) : queue(capacity) {}
    bool send(const Message<N>& message) { return queue.bounded_push(message); }
    bool receive(Message<N>& message) { return queue.pop(message); }
};

VERSUS_QUEUES(boost_spsc, Single)
VERSUS_QUEUES(boost_mpmc, Many)
