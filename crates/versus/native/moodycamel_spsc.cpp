// moodycamel::ReaderWriterQueue: one producer, one consumer.

#include <readerwriterqueue/readerwriterqueue.h>

#include "loops.hpp"

template <std::size_t N> struct ReaderWriter {
    moodycamel::ReaderWriterQueue<Message<N>> queue;

    explicit ReaderWriter(std::size_t capacity) : queue(capacity) {}
    bool send(const Message<N>& message) { return queue.try_enqueue(message); }
    bool receive(Message<N>& message) { return queue.try_dequeue(message); }
};

VERSUS_QUEUES(moodycamel_spsc, ReaderWriter)
