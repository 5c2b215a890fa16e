// Rings with lanes, and with groups from the start, in C++: `lanes DIRECTORY`.

#include <chrono>
#include <cstdint>
#include <string>

#include <ultrafastring.hpp>

#include "check.h"

using namespace std::chrono_literals;

namespace {

void urgent_messages_overtake_others_and_lanes_age() {
    const auto ring = ufr::ring::heap(ufr::settings()
                                          .lanes_by_class()
                                          .capacity(16)
                                          .capacity_of(ufr::priority::bulk, 64)
                                          .credit_limit_of(ufr::priority::low, 2)
                                          .max_message_of(ufr::priority::high, 100))
                          .value();
    const ufr_settings with = ring.made_with();
    CHECK(with.lanes == UFR_LANES_BY_CLASS && with.capacity_of[4] == 64);
    CHECK(with.credit_limit_of[3] == 2 && with.max_message_of[1] == 100);
    auto producer = ring.producer().value();
    auto consumer = ring.consumer().value();
    producer.send("report", ufr::priority::bulk).value();
    producer.send("order").value();
    for (int sent = 0; sent < 4; sent++) {
        producer.send("cancel", ufr::priority::real_time).value();
    }
    CHECK(consumer.borrow().value().text() == "cancel");
    consumer.ageing(2).value();
    std::string texts;
    for (int received = 0; received < 5; received++) {
        texts += consumer.borrow().value().text().substr(0, 1);
    }
    CHECK(texts == "crcoc" && consumer.ageing(0));
    CHECK(consumer.in_time_order(1ms).code() == UFR_ERR_NO_TIME_ORDER);
}

void messages_of_several_producers_come_in_time_order() {
    const auto ring = ufr::ring::heap(ufr::settings().lanes_by_producer(2)).value();
    auto one = ring.producer().value();
    auto two = ring.producer().value();
    CHECK(ring.producer().code() == UFR_ERR_NO_FREE_LANE);
    const auto lanes = ring.lanes();
    CHECK(lanes.size() == 2 && lanes[1].owner_lives == 1 && lanes[1].priority_class == -1);
    auto consumer = ring.consumer().value();
    CHECK(consumer.ageing(2).code() == UFR_ERR_NO_CLASS_LANES);
    consumer.in_time_order(std::chrono::hours::max()).value();
    for (std::int32_t number = 0; number < 10; number++) {
        (number % 3 == 0 ? two : one).send_value(number).value();
    }
    ring.close().value();
    std::int32_t expected = 0;
    for (const ufr::message &message : consumer.messages()) {
        CHECK(message.as<std::int32_t>().value() == expected++ && !message.late());
    }
    CHECK(expected == 10 && consumer.late().value() == 0 && ring.late() == 0);
    CHECK(ufr::ring::heap(ufr::settings().one_lane()).value().made_with().lanes == UFR_LANES_ONE);
}

void settings_with_groups_are_copied(const char *directory) {
    auto first = ufr::settings().directory(directory).groups({"a", "group of a longer name"});
    const ufr::settings second = first;
    first.groups({"other"}).lanes_by_class();
    const auto ring = ufr::ring::create("grouped-cpp", second).value();
    const auto groups = ring.groups();
    CHECK(groups.size() == 2 && std::string(groups[1].name) == "group of a longer name");
    CHECK(groups[0].keeps == UFR_GROUP_DURABLE && groups[0].state == UFR_GROUP_OPEN);
    ring.producer().value().send("to all").value();
    const auto observer = ufr::observer::open("grouped-cpp", second).value();
    CHECK(observer.size() == 1 && observer.late() == 0);
    CHECK(observer.lanes().size() == 1 && observer.lanes()[0].sent == 1);
    auto tail = ufr::tail::open("grouped-cpp", second, ufr::start::oldest).value();
    CHECK(tail.next().value().size() == 6 && tail.lane() == 0);
    CHECK(ufr::ring::open_or_create("grouped-cpp", first).code() == UFR_ERR_SETTINGS_DIFFER);
    ufr::ring::remove("grouped-cpp", second).value();
}

} // namespace

int main(int argc, char **argv) {
    CHECK(argc == 2);
    urgent_messages_overtake_others_and_lanes_age();
    messages_of_several_producers_come_in_time_order();
    settings_with_groups_are_copied(argv[1]);
    return 0;
}
