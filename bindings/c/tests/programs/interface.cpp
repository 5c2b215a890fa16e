// What `ultrafastring.hpp` does: `interface DIRECTORY`.

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ultrafastring.hpp>

#include "check.h"

using namespace std::chrono_literals;

// Handles move and do not copy.
template <class T> constexpr bool moves_only = std::is_nothrow_move_constructible_v<T> &&
                                               !std::is_copy_constructible_v<T> &&
                                               !std::is_copy_assignable_v<T>;
static_assert(moves_only<ufr::ring> && moves_only<ufr::producer> && moves_only<ufr::consumer>);
static_assert(moves_only<ufr::place> && moves_only<ufr::message> && moves_only<ufr::batch>);
static_assert(moves_only<ufr::tail> && moves_only<ufr::observer>);
static_assert(moves_only<ufr::messages> && std::is_nothrow_move_assignable_v<ufr::producer>);

// What a span can be made of.
static_assert(std::is_convertible_v<std::vector<std::byte> &, ufr::bytes>);
static_assert(std::is_convertible_v<std::array<std::byte, 4> &, ufr::buffer>);
static_assert(std::is_convertible_v<ufr::buffer, ufr::bytes>);
static_assert(!std::is_convertible_v<ufr::bytes, ufr::buffer>);
static_assert(!std::is_convertible_v<std::vector<int> &, ufr::bytes>);

#if defined(__cpp_lib_span)
static_assert(std::is_convertible_v<std::span<std::byte>, ufr::bytes>);
static_assert(std::is_convertible_v<ufr::bytes, std::span<const std::byte>>);
static_assert(!std::is_convertible_v<ufr::bytes, std::span<std::byte>>);
#endif
// Clang before 16 does not know the views of libstdc++.
#if defined(__cpp_lib_ranges) && (!defined(__clang__) || __clang_major__ >= 16)
#define HAS_VIEWS
static_assert(std::ranges::input_range<ufr::messages> && std::ranges::view<ufr::messages>);
#endif

// What borrows from a handle does not compile on one that is about to go.
template <class T, class = void> constexpr bool lends = false;
template <class T> constexpr bool lends<T, std::void_t<decltype(std::declval<T>().borrow())>> = true;
static_assert(lends<ufr::consumer &> && !lends<ufr::consumer>);
template <class T, class = void> constexpr bool lists = false;
template <class T> constexpr bool lists<T, std::void_t<decltype(std::declval<T>().messages())>> = true;
static_assert(lists<ufr::consumer &> && !lists<ufr::consumer>);
template <class T, class = void> constexpr bool reserves = false;
template <class T> constexpr bool reserves<T, std::void_t<decltype(std::declval<T>().reserve(1))>> = true;
static_assert(reserves<ufr::producer &> && !reserves<ufr::producer>);

// A value that is taken out of a result outlives it.
static_assert(std::is_same_v<decltype(std::declval<ufr::result<ufr::ring>>().value()), ufr::ring>);

// What points elsewhere is not sent as it lies.
static_assert(ufr::is_sendable<int> && !ufr::is_sendable<const char *>);
static_assert(!ufr::is_sendable<std::string_view> && !ufr::is_sendable<ufr::bytes>);

namespace {

struct quote {
    std::int32_t bid;
    double size;
};

void what_is_sent_is_received() {
    const auto ring = ufr::ring::heap(ufr::settings().capacity(64).max_message(1000)).value();
    auto producer = ring.producer().value();
    auto consumer = ring.consumer().value();
    std::vector<std::byte> bytes;

    CHECK(consumer.try_borrow().is_empty());
    CHECK(consumer.recv_for(1us, bytes).is_timeout() && consumer.borrow_for(1us).is_timeout());
    producer.send("hello", ufr::priority::high).value();
    {
        const auto message = consumer.borrow().value();
        CHECK(message.text() == "hello" && message.priority() == ufr::priority::high);
        CHECK(!message.redelivered() && message.about().position == 0);
        CHECK(consumer.try_recv(bytes).code() == UFR_ERR_IN_USE);
    }
    CHECK(consumer.try_recv(bytes).is_empty() && bytes.empty());

    const std::vector<std::byte> large(900, std::byte{7});
    producer.send(large).value();
    std::array<std::byte, 10> small = {};
    ufr::received about = {};
    CHECK(consumer.recv(small, &about).code() == UFR_ERR_BUFFER_TOO_SMALL && about.size == 900);
    CHECK(consumer.recv(bytes).value() == 900 && bytes == large);
    CHECK(producer.send(std::vector<std::byte>(1001)).code() == UFR_ERR_TOO_LARGE);
    CHECK(ring.size() == 0 && ring.living(ufr::side::producers) == 1);
    CHECK(ring.stats().sent >= 2 && ring.made_with().capacity == 64);
}

void values_are_sent_as_they_lie() {
    const auto ring = ufr::ring::heap().value();
    auto producer = ring.producer().value();
    auto consumer = ring.consumer().value();
    producer.send_value(quote{100, 0.5}).value();
    producer.try_send_value(quote{101, 1.5}).value();
    producer.send("xy").value();
    producer.send_value(quote{102, 2.5}).value();
    CHECK(consumer.recv_value<quote>().value().bid == 100);
    CHECK(consumer.recv_value<char>().code() == UFR_ERR_BUFFER_TOO_SMALL); // it stays
    CHECK(consumer.borrow().value().as<quote>().value().size == 1.5);
    CHECK(consumer.recv_value<quote>().code() == ufr::wrong_size); // it is gone
    CHECK(consumer.try_recv_value<quote>().value().bid == 102);
    CHECK(consumer.try_recv_value<quote>().is_empty());
}

void messages_are_written_and_read_in_place() {
    const auto ring = ufr::ring::heap(ufr::settings().max_message(4096)).value();
    auto producer = ring.producer().value();
    auto consumer = ring.consumer().value();
    {
        auto place = producer.reserve(4096).value();
        std::memset(place.data().data(), 1, place.size());
        auto moved = std::move(place);
        moved.commit(4000).value();
    }
    { const auto given_up = producer.try_reserve(100).value(); }
    {
        auto place = producer.reserve_for(1s, 3).value();
        std::memcpy(place.data().data(), "end", 3);
        place.commit().value();
    }
    std::array<ufr_message, 8> records;
    std::size_t sizes = 0;
    while (auto batch = consumer.try_borrow_many(records)) {
        for (const ufr_message &message : *batch) {
            sizes += message.about.size;
        }
        batch->release_first(1).value();
    }
    CHECK(sizes == 4003);
    producer.send("one").value();
    producer.send("two").value();
    CHECK(consumer.borrow_many(records).value().size() == 2);
    const std::array<ufr_bytes, 2> two = {{{"a", 1}, {"bc", 2}}};
    std::size_t sent = 0;
    producer.send_many(two, ufr::priority::low, &sent).value();
    CHECK(sent == 2 && producer.try_send_many(two).value() == 2);
    std::array<char, 4> texts[2];
    std::array<ufr_buffer, 2> buffers = {{{texts[0].data(), 4}, {texts[1].data(), 4}}};
    std::array<ufr::received, 2> about;
    CHECK(consumer.recv_many(buffers, about).value() == 2 && about[1].size == 2);
    CHECK(consumer.try_recv_many(buffers, about).value() == 2 && texts[1][0] == 'b');
}

void messages_are_a_range() {
    const auto ring = ufr::ring::heap().value();
    auto producer = ring.producer().value();
    auto consumer = ring.consumer().value();
    for (std::int32_t number = 0; number < 10; number++) {
        producer.send_value(number).value();
    }
    producer.close().value();
    std::int32_t sum = 0;
    for (const ufr::message &message : consumer.messages()) {
        sum += message.as<std::int32_t>().value();
        if (sum == 1) {
            break; // takes no more than it has looked at
        }
    }
#if defined(HAS_VIEWS)
    for (const ufr::message &message : consumer.messages() | std::views::take(3)) {
        sum += message.as<std::int32_t>().value();
    }
    CHECK(sum == 10);
#endif
    auto rest = consumer.messages();
    for (const ufr::message &message : rest) {
        sum += message.as<std::int32_t>().value();
    }
    CHECK(sum == 45 && rest.error().code() == UFR_ERR_CLOSED);
}

void a_batch_releases_its_own_messages_only() {
    const auto ring = ufr::ring::heap().value();
    auto producer = ring.producer().value();
    auto consumer = ring.consumer().value();
    producer.send("one").value();
    producer.send("two").value();
    std::array<ufr_message, 1> records;
    std::optional<ufr::batch> batch(consumer.borrow_many(records).value());
    batch->release_first(1).value();
    auto message = consumer.borrow().value();
    batch.reset();
    CHECK(consumer.try_recv(ufr::buffer()).code() == UFR_ERR_IN_USE); // it is still borrowed
    CHECK(message.text() == "two");
    auto moved = std::move(message);
    CHECK(message.size() == 0 && message.data().data() == nullptr && moved.text() == "two");
    moved.release();
    CHECK(moved.size() == 0 && moved.text().empty());
    auto &self = moved;
    moved = std::move(self);
}

void messages_may_be_passed_over_and_their_consumer_moved() {
    const auto ring = ufr::ring::heap().value();
    auto producer = ring.producer().value();
    auto first = ring.consumer().value();
    for (std::int32_t number = 0; number < 5; number++) {
        producer.send_value(number).value();
    }
    ufr::consumer second(nullptr); // goes after the messages
    auto messages = first.messages();
    second = std::move(first);
    auto it = messages.begin();
    ++it;
    ++it;
    CHECK(it->as<std::int32_t>().value() == 2);
    it++;
    CHECK((*it).as<std::int32_t>().value() == 3);
}

void any_time_may_be_waited_for() {
    const auto ring = ufr::ring::heap(ufr::settings().max_message(1000)).value();
    auto producer = ring.producer().value();
    auto consumer = ring.consumer().value();
    std::vector<std::byte> bytes;
    CHECK(consumer.recv_for(-1h, bytes).is_timeout() && consumer.borrow_for(0.0001s).is_timeout());
    producer.send_for(std::chrono::hours::max(), std::vector<std::byte>(900)).value();
    CHECK(consumer.recv_for(1s, bytes).value() == 900 && bytes.size() == 900); // it grows
    producer.send_for(1s, "text").value();
    CHECK(consumer.borrow_for(std::chrono::hours::max()).value().text() == "text");
    std::thread late([&] {
        std::this_thread::sleep_for(20ms);
        producer.send("late").value();
    });
    CHECK(consumer.recv_for(std::chrono::hours::max(), bytes).value() == 4);
    late.join();
}

void a_result_is_given_a_new_value() {
    const auto ring = ufr::ring::heap().value();
    auto producer = ring.producer().value();
    auto consumer = ring.consumer().value();
    auto number = consumer.try_recv_value<int>();
    CHECK(number.is_empty());
    producer.send_value(7).value();
    number = consumer.try_recv_value<int>();
    const auto &seen = number;
    CHECK(seen.value() == 7);
    auto &self = number;
    number = std::move(self);
    CHECK(number.value() == 7);
    number = consumer.try_recv_value<int>();
    CHECK(number.is_empty());
}

void failures_are_told_with_and_without_exceptions(const char *directory) {
    const auto chosen = ufr::settings().directory(directory).capacity(512);
    auto absent = ufr::ring::open("absent", chosen);
    CHECK(!absent && absent.code() == UFR_ERR_NO_SUCH_RING);
    CHECK(absent.error().text().find("create the ring first") != std::string::npos);
    bool thrown = false;
    try {
        absent.value();
    } catch (const ufr::error &error) {
        thrown = error.code() == UFR_ERR_NO_SUCH_RING &&
                 std::string(error.what()).find("absent") != std::string::npos;
    }
    CHECK(thrown);
    const auto ring = ufr::ring::create("cpp", chosen).value();
    CHECK(ufr::ring::create("cpp", chosen).code() == UFR_ERR_NAME_TAKEN);
    CHECK(ufr::ring::open_or_create("cpp", ufr::settings().directory(directory).capacity(8)).code() ==
          UFR_ERR_SETTINGS_DIFFER);
    ufr::ring::remove("cpp", chosen).value();
    ring.close().value();
    CHECK(ring.is_closed() && ring.producer_unless_closed().code() == UFR_ERR_CLOSED);
    CHECK(ring.reopen() && !ring.is_closed());
}

void each_group_gets_every_message() {
    const auto ring = ufr::ring::heap(ufr::settings().joinable()).value();
    auto risk = ring.join("risk").value();
    auto log = ring.join("log").value();
    CHECK(ring.consumer().code() == UFR_ERR_GROUPS);
    auto producer = ring.producer().value();
    producer.send("to all").value();
    CHECK(risk.borrow().value().text() == "to all" && log.borrow().value().text() == "to all");
    CHECK(ring.remove_group("risk").code() == UFR_ERR_BUSY);
}

void a_tail_reader_reads_and_groups_are_listed(const char *directory) {
    const auto chosen = ufr::settings().directory(directory).joinable().capacity(256);
    const auto ring = ufr::ring::create("tail-cpp", chosen).value();
    auto producer = ring.producer().value();
    auto tail = ufr::tail::open("tail-cpp", chosen).value();
    tail.poll_every(100us).value();
    CHECK(tail.try_next().is_empty() && tail.next_for(1us).is_timeout());
    producer.send("one").value();
    ufr::received about = {};
    CHECK(tail.next(&about).value().size() == 3 && about.position == 0 && tail.position() == 1);
    for (int sent = 0; sent < 1000; sent++) {
        producer.send_value(sent).value();
    }
    CHECK(tail.next().is_missed() && tail.missed() > 0);
    CHECK(tail.latest(&about).value().size() == sizeof(int) && about.position == 1000);
    CHECK(ufr::tail::open_at("tail-cpp", 1000, chosen).value().position() == 1000);
    CHECK(ring.groups().empty());
    ufr_join how;
    ufr_join_init(&how);
    how.evict_after_ns = 1000000;
    auto slow = ring.join("slow", &how).value();
    const auto groups = ring.groups();
    CHECK(groups.size() == 1 && std::string(groups[0].name) == "slow");
    for (int sent = 0; sent < 300; sent++) {
        producer.send_value(sent).value();
    }
    int number = 0;
    CHECK(slow.recv(ufr::buffer(reinterpret_cast<std::byte *>(&number), 4), &about).is_missed());
    CHECK(about.position == 300);
    ufr::ring::remove("tail-cpp", chosen).value();
}

void an_observer_looks(const char *directory) {
    const auto chosen = ufr::settings().directory(directory).joinable().capacity(16);
    CHECK(ufr::observer::open("seen-cpp", chosen).code() == UFR_ERR_NO_SUCH_RING);
    const auto ring = ufr::ring::create("seen-cpp", chosen).value();
    const auto observer = ufr::observer::open("seen-cpp", chosen).value();
    auto risk = ring.join("risk").value();
    auto producer = ring.producer().value();
    producer.send("abc").value();
    CHECK(observer.size() == 1 && observer.stats().sent == 1 && !observer.is_damaged());
    CHECK(observer.living(ufr::side::producers) == 1 && observer.made_with().capacity == 16);
    const auto groups = observer.groups();
    CHECK(groups.size() == 1 && std::string(groups[0].name) == "risk" && groups[0].lag == 1);
    ufr::ring::remove("seen-cpp", chosen).value();
}

void latencies_are_told(const char *directory) {
    const auto chosen =
        ufr::settings().directory(directory).groups({"risk", "log"}).latency_histograms();
    const auto ring = ufr::ring::create("timed-cpp", chosen).value();
    const auto observer = ufr::observer::open("timed-cpp", chosen).value();
    auto risk = ring.join("risk").value();
    auto producer = ring.producer().value();
    producer.send("abc").value();
    std::byte buffer[40];
    CHECK(risk.recv(buffer).value() == 3);
    risk.flush().value();
    const auto told = observer.latencies("risk").value();
    CHECK(told.all.count >= 1 && told.all.count == ring.latencies().value().all.count);
    CHECK(told.all.max_ns > 0 && ring.latencies("none").code() == UFR_ERR_NO_SUCH_GROUP);
    CHECK(ufr::ring::heap().value().latencies().code() == UFR_ERR_INVALID_ARGUMENT);
    ufr::ring::remove("timed-cpp", chosen).value();
}

void several_consumers_are_waited_for_at_once() {
    const auto quotes = ufr::ring::heap().value(), orders = ufr::ring::heap().value();
    auto first = quotes.consumer().value(), second = orders.consumer().value();
    ufr::consumer *const both[] = {&first, &second};
    CHECK(ufr::wait_any_for(1us, both).is_timeout());
    auto producer = orders.producer().value();
    producer.send("buy").value();
    CHECK(ufr::wait_any(both).value() == 1 && second.try_borrow().value().text() == "buy");
    ufr::consumer *const lacking[] = {&first, nullptr};
    CHECK(ufr::wait_any(lacking).code() == UFR_ERR_NULL);
    producer.close().value();
    CHECK(ufr::wait_any_for(1h, both).value() == 1 && second.borrow().is_end());
}

void handles_are_freed_once_wherever_they_went() {
    const auto ring = ufr::ring::heap(ufr::settings().exclusive_producer()).value();
    auto first = ring.producer().value();
    CHECK(ring.producer().code() == UFR_ERR_SIDE_TAKEN);
    auto second = std::move(first);
    CHECK(first.get() == nullptr && first.try_send("x").code() == UFR_ERR_NULL);
    first = std::move(second);
    first.try_send("x").value();
    ufr_producer_free(first.release());
    second = ring.producer().value(); // it was given back
    second.try_send("y").value();
}

void an_event_loop_and_a_socket_work() {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    const auto here = ufr::ring::anonymous(ufr::settings().timestamps(false)).value();
    here.hand_to(ends[0]).value();
    const auto there = ufr::ring::take_from(ends[1]).value();
    close(ends[0]);
    close(ends[1]);
    auto producer = here.producer().value();
    auto consumer = there.consumer().value();
    producer.wait_by(ufr::wait::park).value();
    consumer.wait_by(ufr::wait::spin).value();
    consumer.end_when_deserted().value();
    pollfd event = {consumer.fd().value(), POLLIN, 0};
    CHECK(producer.fd().value() >= 0 && producer.arm().value());
    CHECK(!consumer.arm().value());
    std::thread sender([&] { producer.send("late").value(); });
    CHECK(poll(&event, 1, 5000) == 1);
    sender.join();
    CHECK(consumer.arm().value() && consumer.borrow().value().text() == "late");
    consumer.disarm().value();
    { const auto gone = std::move(producer); }
    CHECK(consumer.is_deserted().value());
    CHECK(consumer.borrow().code() == UFR_ERR_DESERTED && consumer.arm().is_end());
}

} // namespace

int main(int argc, char **argv) {
    CHECK(argc == 2);
    what_is_sent_is_received();
    values_are_sent_as_they_lie();
    messages_are_written_and_read_in_place();
    messages_are_a_range();
    a_batch_releases_its_own_messages_only();
    messages_may_be_passed_over_and_their_consumer_moved();
    any_time_may_be_waited_for();
    a_result_is_given_a_new_value();
    failures_are_told_with_and_without_exceptions(argv[1]);
    each_group_gets_every_message();
    a_tail_reader_reads_and_groups_are_listed(argv[1]);
    an_observer_looks(argv[1]);
    latencies_are_told(argv[1]);
    several_consumers_are_waited_for_at_once();
    handles_are_freed_once_wherever_they_went();
    an_event_loop_and_a_socket_work();
    return 0;
}
