// boost::interprocess::message_queue, between processes: a name, one mutex, and two conditions.

#include <boost/interprocess/ipc/message_queue.hpp>

#include "loops.hpp"

using boost::interprocess::message_queue;

extern "C" {

// Makes one (and removes an old one so called), or opens what another process made; null if it
// cannot be had.
void* boost_ipc_create(const char* name, std::size_t capacity, std::size_t size) noexcept {
    try {
        message_queue::remove(name);
        return new message_queue(boost::interprocess::create_only, name, capacity, size);
    } catch (...) {
        return nullptr;
    }
}

void* boost_ipc_open(const char* name) noexcept {
    try {
        return new message_queue(boost::interprocess::open_only, name);
    } catch (...) {
        return nullptr;
    }
}

void boost_ipc_close(void* queue, const char* name) noexcept {
    delete static_cast<message_queue*>(queue);
    if (name) {
        message_queue::remove(name);
    }
}

// 1 sent, 0 no room, -1 error.
int boost_ipc_send(void* queue, const void* bytes, std::size_t size, unsigned priority) noexcept {
    try {
        return static_cast<message_queue*>(queue)->try_send(bytes, size, priority);
    } catch (...) {
        return -1;
    }
}

// 1 received, 0 none, -1 error.
int boost_ipc_receive(void* queue, void* bytes, std::size_t size, bool wait) noexcept {
    try {
        message_queue::size_type got = 0;
        unsigned priority = 0;
        auto* from = static_cast<message_queue*>(queue);
        if (wait) {
            from->receive(bytes, size, got, priority);
        } else if (!from->try_receive(bytes, size, got, priority)) {
            return 0;
        }
        return got == size ? 1 : -1;
    } catch (...) {
        return -1;
    }
}
}
