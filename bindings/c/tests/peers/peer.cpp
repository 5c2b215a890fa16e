// A process of the acceptance test, in C++: as `peer.c`.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ultrafastring.hpp>

#include "exchange.h"

namespace {

// A wait after which a worker looks whether it is to stop.
constexpr std::chrono::milliseconds soon{20};

[[noreturn]] void die(const char *what) {
    std::fprintf(stderr, "peer.cpp: %s\n", what);
    std::exit(1);
}

const unsigned char *plain(const std::byte *bytes) {
    return reinterpret_cast<const unsigned char *>(bytes);
}
unsigned char *plain(std::byte *bytes) { return reinterpret_cast<unsigned char *>(bytes); }

ufr::priority class_of(std::uint64_t number) {
    return static_cast<ufr::priority>(exchange_class(number));
}

void send_all(ufr::producer producer, std::uint64_t count, bool large) {
    std::vector<std::byte> message(LARGEST);
    // A receiver that finds something wrong ends.
    producer.end_when_deserted().value();
    for (std::uint64_t number = 0; number < count; number++) {
        const std::size_t size = exchange_fill(plain(message.data()), number, large);
        producer.send({message.data(), size}, class_of(number)).value();
    }
    producer.close().value();
}

void receive_all(ufr::consumer consumer, std::uint64_t count, bool large) {
    std::uint64_t number = 0;
    for (const ufr::message &message : consumer.messages()) {
        if (!exchange_is(plain(message.data().data()), message.size(), number, large) ||
            message.priority() != class_of(number) || message.about().position != number) {
            die("a message is another one");
        }
        number++;
    }
    if (number != count) {
        die("a wrong number of messages came");
    }
}

exchange_log *map_log(const char *path) {
    const int file = open(path, O_RDWR);
    void *const memory = file < 0 ? MAP_FAILED
                                  : mmap(nullptr, sizeof(exchange_log), PROT_READ | PROT_WRITE,
                                         MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) {
        die(path);
    }
    return static_cast<exchange_log *>(memory);
}

// Whether it went well; what it waits for too long is no failure.
template <class T> bool went(const ufr::result<T> &result) {
    if (!result && !result.is_timeout() && !result.is_full()) {
        result.error().raise();
    }
    return bool(result);
}

// Sends messages from `first` on, which lie in `all`, and says how many.
std::size_t send_some(ufr::producer &producer, std::uint64_t way, std::uint64_t first,
                      ufr::span<const ufr_bytes> all) {
    const ufr::bytes one(static_cast<const std::byte *>(all[0].data), all[0].size);
    if (way == 0) {
        return went(producer.send_for(soon, one, class_of(first))) ? 1 : 0;
    }
    if (way == 1) {
        auto place = producer.reserve_for(soon, one.size(), class_of(first));
        if (!went(place)) {
            return 0;
        }
        std::memcpy(place->data().data(), one.data(), one.size());
        place->commit().value();
        return 1;
    }
    auto sent = producer.try_send_many(all, class_of(first));
    return went(sent) ? *sent : 0;
}

void produce(ufr::producer producer, exchange_log *log) {
    std::vector<unsigned char> bytes[3];
    for (auto &one : bytes) {
        one.resize(LARGEST);
    }
    while (exchange_goes_on(log)) {
        const std::uint64_t way = exchange_way(__atomic_load_n(&log->next, __ATOMIC_SEQ_CST));
        const std::uint64_t count = way == 2 ? 3 : 1;
        const std::uint64_t first = exchange_next(log, count);
        if (first + count > MOST) {
            return;
        }
        std::vector<ufr_bytes> messages;
        for (std::uint64_t at = 0; at < count; at++) {
            const bool large = exchange_is_large(log, first + at) != 0;
            const std::size_t size = exchange_fill(bytes[at].data(), first + at, large);
            messages.push_back({bytes[at].data(), size});
        }
        std::size_t done = 0;
        while (done < count && !exchange_stopped(log)) {
            const ufr::span<const ufr_bytes> rest(messages.data() + done, count - done);
            const std::size_t sent = send_some(producer, way, first, rest);
            for (std::size_t at = 0; at < sent; at++) {
                exchange_sent(log, first + done + at);
            }
            done += sent;
        }
    }
}

void consume(ufr::consumer consumer, exchange_log *log) {
    while (!exchange_stopped(log)) {
        auto message = consumer.borrow_for(soon);
        if (went(message) && !exchange_received(log, plain(message->data().data()),
                                                message->size(), message->redelivered())) {
            die("a message is not one that was sent");
        }
    }
}

} // namespace

int main(int argc, char **argv) try {
    if (argc < 5) {
        return 2;
    }
    const std::string what = argv[1];
    const auto ring = ufr::ring::open(argv[3], ufr::settings().directory(argv[2])).value();
    const bool sends = what == "send" || what == "produce";
    if (argc == 6) {
        const std::uint64_t count = std::strtoull(argv[4], nullptr, 10);
        const bool large = std::string(argv[5]) == "large";
        sends ? send_all(ring.producer().value(), count, large)
              : receive_all(ring.consumer().value(), count, large);
    } else {
        exchange_log *const log = map_log(argv[4]);
        sends ? produce(ring.producer().value(), log) : consume(ring.consumer().value(), log);
    }
    return 0;
} catch (const std::exception &error) {
    die(error.what());
}
