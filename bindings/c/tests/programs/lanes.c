// Rings with lanes, and with groups from the start, made and used from C alone: `lanes DIRECTORY`.

#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ultrafastring_more.h>

#include "check.h"

static ufr_ring *ring_of(const ufr_settings *settings) {
    ufr_ring *ring;
    CHECK(ufr_ring_heap(settings, &ring) == UFR_OK);
    return ring;
}

static ufr_producer *producer_of(ufr_ring *ring) {
    ufr_producer *producer;
    CHECK(ufr_producer_new(ring, &producer) == UFR_OK);
    return producer;
}

static ufr_consumer *consumer_of(ufr_ring *ring) {
    ufr_consumer *consumer;
    CHECK(ufr_consumer_new(ring, &consumer) == UFR_OK);
    return consumer;
}

static void send(ufr_producer *producer, const char *text, int32_t priority_class) {
    CHECK(ufr_send(producer, text, strlen(text), priority_class) == UFR_OK);
}

// Whether this is the next message.
static int next_is(ufr_consumer *consumer, const char *text) {
    char buffer[40];
    const ptrdiff_t size = ufr_recv(consumer, buffer, sizeof buffer, NULL);
    CHECK(size >= 0);
    return (size_t)size == strlen(text) && memcmp(buffer, text, (size_t)size) == 0;
}

static void urgent_messages_overtake_others_in_a_ring_with_lanes_by_class(void) {
    ufr_settings settings = chosen(), with;
    settings.lanes = UFR_LANES_BY_CLASS;
    settings.capacity = 16;
    settings.capacity_of[UFR_CLASS_REAL_TIME] = 64;
    settings.credit_limit_of[UFR_CLASS_LOW] = 2;
    settings.max_message_of[UFR_CLASS_BULK] = 1000;
    ufr_ring *const ring = ring_of(&settings);
    CHECK(ufr_ring_settings(ring, &with) == UFR_OK && with.lanes == UFR_LANES_BY_CLASS);
    CHECK(with.capacity == 16 && with.capacity_of[UFR_CLASS_REAL_TIME] == 64);
    CHECK(with.capacity_of[UFR_CLASS_BULK] == 16 && with.credit_limit_of[UFR_CLASS_BULK] == 16);
    CHECK(with.credit_limit_of[UFR_CLASS_LOW] == 2 && with.max_message_of[UFR_CLASS_LOW] == 40);
    CHECK(with.max_message_of[UFR_CLASS_BULK] == 1000);
    ufr_producer *const producer = producer_of(ring);
    ufr_consumer *const consumer = consumer_of(ring);
    char large[1000] = {7};
    CHECK(ufr_send(producer, large, sizeof large, UFR_CLASS_LOW) == UFR_ERR_TOO_LARGE);
    CHECK(ufr_send(producer, large, sizeof large, UFR_CLASS_BULK) == UFR_OK);
    send(producer, "report", UFR_CLASS_LOW);
    send(producer, "another", UFR_CLASS_LOW);
    const int refused = ufr_try_send(producer, "third", 5, UFR_CLASS_LOW);
    CHECK(refused == UFR_ERR_FULL || refused == UFR_ERR_OUT_OF_CREDIT);
    send(producer, "order", UFR_CLASS_NORMAL);
    send(producer, "cancel", UFR_CLASS_REAL_TIME);
    ufr_lane_info lanes[5];
    CHECK(ufr_ring_lanes(ring, NULL, 0) == 5 && ufr_ring_lanes(ring, NULL, 1) == UFR_ERR_NULL);
    CHECK(ufr_ring_lanes(ring, lanes, 5) == 5 && lanes[2].priority_class == UFR_CLASS_NORMAL);
    CHECK(lanes[3].sent == 2 && lanes[3].credits_spent == 2 && lanes[3].credit_limit == 2);
    CHECK(lanes[0].capacity == 64 && lanes[4].max_message == 1000 && lanes[0].len == 1);
    CHECK(lanes[0].owner_pid == 0 && lanes[0].owner_name[0] == '\0' && lanes[0].closed == 0);
    CHECK(next_is(consumer, "cancel") && next_is(consumer, "order"));
    CHECK(next_is(consumer, "report") && next_is(consumer, "another"));
    CHECK(ufr_recv(consumer, large, sizeof large, NULL) == 1000);
    CHECK(ufr_try_recv(consumer, large, sizeof large, NULL) == UFR_ERR_EMPTY);
    ufr_producer_free(producer);
    ufr_consumer_free(consumer);
    ufr_ring_free(ring);
    // The same again from what was told.
    ufr_ring_free(ring_of(&with));
}

static void a_class_gets_its_share_where_lanes_age(void) {
    ufr_settings settings = chosen();
    settings.lanes = UFR_LANES_BY_CLASS;
    ufr_ring *const ring = ring_of(&settings);
    ufr_producer *const producer = producer_of(ring);
    ufr_consumer *const consumer = consumer_of(ring);
    CHECK(ufr_consumer_ageing(consumer, 3) == UFR_OK);
    for (int at = 0; at < 6; at++) {
        send(producer, "cancel", UFR_CLASS_REAL_TIME);
    }
    send(producer, "report", UFR_CLASS_BULK);
    send(producer, "report", UFR_CLASS_BULK);
    CHECK(next_is(consumer, "cancel") && next_is(consumer, "cancel"));
    CHECK(next_is(consumer, "report") && next_is(consumer, "cancel"));
    CHECK(ufr_consumer_ageing(consumer, 0) == UFR_OK); // strict again
    CHECK(next_is(consumer, "cancel") && next_is(consumer, "cancel"));
    CHECK(next_is(consumer, "cancel") && next_is(consumer, "report"));
    CHECK(ufr_consumer_in_time_order(consumer, 0) == UFR_ERR_NO_TIME_ORDER);
    CHECK(says("its lanes are by-class") && says("settings.lanes = N"));
    ufr_producer_free(producer);
    ufr_consumer_free(consumer);
    ufr_ring_free(ring);
}

static void each_producer_has_a_lane_and_messages_come_in_time_order_if_asked_for(void) {
    ufr_settings settings = chosen(), with;
    settings.lanes = 2;
    settings.participant_name = "job";
    ufr_ring *const ring = ring_of(&settings);
    CHECK(ufr_ring_settings(ring, &with) == UFR_OK && with.lanes == 2);
    CHECK(with.producer_side == UFR_SIDE_EXCLUSIVE && with.capacity_of[0] == 0);
    ufr_producer *const one = producer_of(ring), *const two = producer_of(ring);
    ufr_producer *third = one;
    CHECK(ufr_producer_new(ring, &third) == UFR_ERR_NO_FREE_LANE && third == NULL);
    CHECK(says("each of the 2 lanes") && says("settings.lanes = N"));
    ufr_consumer *const consumer = consumer_of(ring);
    CHECK(ufr_consumer_ageing(consumer, 4) == UFR_ERR_NO_CLASS_LANES);
    CHECK(says("by-producer:2") && says("UFR_LANES_BY_CLASS"));
    send(one, "1", UFR_CLASS_BULK);
    send(two, "2", UFR_CLASS_REAL_TIME);
    send(one, "3", UFR_CLASS_BULK);
    CHECK(next_is(consumer, "1") && next_is(consumer, "3") && next_is(consumer, "2"));

    // Without end: a lane that has nothing is always waited for.
    CHECK(ufr_consumer_in_time_order(consumer, -1) == UFR_OK);
    send(two, "4", UFR_CLASS_NORMAL);
    char buffer[40];
    CHECK(ufr_try_recv(consumer, buffer, sizeof buffer, NULL) == UFR_ERR_EMPTY);
    CHECK(ufr_recv_timeout(consumer, buffer, sizeof buffer, NULL, 1000) == UFR_ERR_TIMED_OUT);
    send(one, "5", UFR_CLASS_NORMAL);
    CHECK(next_is(consumer, "4"));
    CHECK(ufr_try_recv(consumer, buffer, sizeof buffer, NULL) == UFR_ERR_EMPTY);
    send(two, "6", UFR_CLASS_NORMAL);
    send(two, "7", UFR_CLASS_NORMAL);
    send(one, "8", UFR_CLASS_NORMAL);
    CHECK(ufr_consumer_in_time_order(consumer, 0) == UFR_OK);
    CHECK(next_is(consumer, "5") && next_is(consumer, "6"));
    CHECK(next_is(consumer, "7") && next_is(consumer, "8"));
    CHECK(ufr_consumer_late(consumer) == 0 && ufr_ring_late(ring) == 0);
    ufr_message message;
    send(one, "9", UFR_CLASS_NORMAL);
    CHECK(ufr_borrow(consumer, &message, 1) == 1);
    CHECK(ufr_consumer_in_time_order(consumer, 0) == UFR_ERR_IN_USE && says("ufr_release"));
    CHECK(ufr_consumer_late(consumer) == UFR_ERR_IN_USE);
    ufr_producer_free(one);
    ufr_lane_info lanes[3];
    lanes[1].capacity = 9;
    CHECK(ufr_ring_lanes(ring, lanes, 1) == 2 && lanes[1].capacity == 9); // not beyond
    CHECK(ufr_ring_lanes(ring, lanes, 3) == 2 && lanes[0].owner_pid == 0);
    CHECK(lanes[1].owner_pid == (uint32_t)getpid() && lanes[1].owner_lives == 1);
    CHECK(strcmp(lanes[1].owner_name, "job") == 0 && lanes[1].priority_class == -1);
    CHECK(ufr_producer_new(ring, &third) == UFR_OK); // its lane is free
    CHECK(ufr_producer_close(third) == UFR_OK);
    CHECK(ufr_ring_lanes(ring, lanes, 3) == 2 && lanes[0].closed == 1 && lanes[1].closed == 0);
    ufr_producer_free(third);
    ufr_producer_free(two);
    ufr_consumer_free(consumer);
    ufr_ring_free(ring);

    settings.timestamps = 16;
    ufr_ring *const some = ring_of(&settings);
    ufr_consumer *const other = consumer_of(some);
    CHECK(ufr_consumer_in_time_order(other, 0) == UFR_ERR_NO_TIME_ORDER);
    CHECK(says("its timestamps are 1/16") && says("UFR_TIMESTAMPS_EVERY"));
    ufr_consumer_free(other);
    ufr_ring_free(some);
}

// A message whose bytes are not there yet: who copies it does something else first. So it is sent
// after it was stamped, and after a younger one was received.
static struct {
    char *page;
    size_t size;
    ufr_producer *other;
    ufr_consumer *consumer;
    int done;
} meanwhile;

static void do_something_else(int number) {
    (void)number;
    if (meanwhile.done++ != 0) {
        _Exit(3); // another mistake
    }
    ufr_received received;
    char buffer[40];
    CHECK(ufr_send(meanwhile.other, "younger", 7, UFR_CLASS_NORMAL) == UFR_OK);
    CHECK(ufr_recv(meanwhile.consumer, buffer, sizeof buffer, &received) == 7);
    CHECK(received.late == 0);
    CHECK(mprotect(meanwhile.page, meanwhile.size, PROT_READ) == 0);
}

static void send_late(ufr_producer *producer, ufr_producer *other, ufr_consumer *consumer) {
    struct sigaction action, before;
    const size_t size = 4096;
    void *const page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    memset(page, 'l', size);
    CHECK(mprotect(page, size, PROT_NONE) == 0);
    meanwhile.page = page;
    meanwhile.size = size;
    meanwhile.other = other;
    meanwhile.consumer = consumer;
    meanwhile.done = 0;
    memset(&action, 0, sizeof action);
    action.sa_handler = do_something_else;
    CHECK(sigaction(SIGSEGV, &action, &before) == 0);
    CHECK(ufr_send(producer, page, 2000, UFR_CLASS_NORMAL) == UFR_OK && meanwhile.done == 1);
    CHECK(sigaction(SIGSEGV, &before, NULL) == 0 && munmap(page, size) == 0);
}

// What a program has that was compiled before there were lanes.
struct older_received {
    size_t size;
    uint64_t position, timestamp, latency;
    int32_t priority_class;
    int32_t redelivered;
};

static void what_comes_after_a_younger_message_says_so_and_is_counted(void) {
    ufr_settings settings = chosen();
    settings.lanes = 2;
    settings.max_message = 4096;
    ufr_ring *const ring = ring_of(&settings);
    ufr_producer *const one = producer_of(ring), *const two = producer_of(ring);
    ufr_consumer *const consumer = consumer_of(ring);
    ufr_received received[2];
    static char bytes[2][4096];
    CHECK(ufr_consumer_in_time_order(consumer, 0) == UFR_OK);
    send_late(one, two, consumer);
    send(one, "in time", UFR_CLASS_NORMAL);
    CHECK(ufr_recv(consumer, bytes[0], 100, received) == UFR_ERR_BUFFER_TOO_SMALL);
    CHECK(received[0].size == 2000 && received[0].late == 0);
    CHECK(ufr_recv(consumer, bytes[0], sizeof bytes[0], received) == 2000);
    CHECK(received[0].late == 1 && received[0].redelivered == 0 && bytes[0][1999] == 'l');
    CHECK(ufr_recv(consumer, bytes[0], sizeof bytes[0], received) == 7);
    CHECK(received[0].late == 0 && ufr_consumer_late(consumer) == 1 && ufr_ring_late(ring) == 1);

    send_late(one, two, consumer);
    send(one, "in time", UFR_CLASS_NORMAL);
    ufr_buffer buffers[2] = {{bytes[0], sizeof bytes[0]}, {bytes[1], sizeof bytes[1]}};
    CHECK(ufr_recv_many(consumer, buffers, 2, received) == 2);
    CHECK(received[0].late == 1 && received[0].size == 2000 && received[1].late == 0);

    send_late(one, two, consumer);
    ufr_message message;
    CHECK(ufr_borrow(consumer, &message, 1) == 1 && message.about.late == 1);
    CHECK(ufr_release(consumer, 1) == UFR_OK && ufr_consumer_late(consumer) == 3);

    // One that does not ask for time order gets what an older program expects.
    struct older_received older;
    ufr_consumer *const plain = consumer_of(ring);
    memset(&older, 0xff, sizeof older);
    CHECK(sizeof older == sizeof *received);
    CHECK(offsetof(struct older_received, redelivered) == offsetof(ufr_received, redelivered));
    send(two, "plain", UFR_CLASS_HIGH);
    CHECK(ufr_recv(plain, bytes[0], sizeof bytes[0], received) == 5);
    memcpy(&older, received, sizeof older);
    CHECK(older.redelivered == 0 && older.priority_class == UFR_CLASS_HIGH && older.size == 5);
    ufr_consumer_free(plain);
    ufr_producer_free(one);
    ufr_producer_free(two);
    ufr_consumer_free(consumer);
    ufr_ring_free(ring);
}

static void a_ring_is_made_with_groups_that_are_open_from_the_start(const char *directory) {
    ufr_settings settings = chosen();
    const char *names[3] = {"risk", "log", NULL};
    ufr_group_info groups[3];
    ufr_ring *ring, *other;
    ufr_consumer *consumer;
    ufr_observer *observer;
    ufr_tail *tail;
    const void *data;
    char buffer[40];
    settings.directory = directory;
    settings.lanes = UFR_LANES_BY_CLASS;
    settings.groups = names;
    settings.group_count = 3;
    CHECK(ufr_ring_create("grouped", &settings, &ring) == UFR_ERR_NULL && says("settings.groups"));
    settings.group_count = 2;
    CHECK(ufr_ring_create("grouped", &settings, &ring) == UFR_OK);
    CHECK(ufr_ring_groups(ring, groups, 3) == 2 && strcmp(groups[1].name, "log") == 0);
    CHECK(groups[0].state == UFR_GROUP_OPEN && groups[0].keeps == UFR_GROUP_DURABLE);
    ufr_producer *const producer = producer_of(ring);
    CHECK(ufr_observer_open("grouped", &settings, &observer) == UFR_OK);
    CHECK(ufr_tail_open("grouped", &settings, UFR_START_OLDEST, 0, &tail) == UFR_OK);
    send(producer, "order", UFR_CLASS_NORMAL);
    send(producer, "cancel", UFR_CLASS_REAL_TIME);
    CHECK(ufr_tail_next(tail, &data, NULL) == 6 && ufr_tail_lane(tail) == UFR_CLASS_REAL_TIME);
    CHECK(ufr_tail_next(tail, &data, NULL) == 5 && ufr_tail_lane(tail) == UFR_CLASS_NORMAL);
    for (int at = 0; at < 2; at++) {
        CHECK(ufr_consumer_join(ring, names[at], NULL, &consumer) == UFR_OK);
        CHECK(ufr_consumer_ageing(consumer, 100) == UFR_OK);
        CHECK(next_is(consumer, "cancel") && next_is(consumer, "order"));
        ufr_consumer_free(consumer);
    }
    ufr_lane_info lanes[5];
    CHECK(ufr_observer_late(observer) == 0 && ufr_observer_lanes(observer, lanes, 5) == 5);
    CHECK(lanes[UFR_CLASS_REAL_TIME].received == 1 && lanes[UFR_CLASS_BULK].received == 0);
    CHECK(ufr_consumer_join(ring, "third", NULL, &consumer) == UFR_ERR_TABLE_FULL);
    // Groups that are missing are a difference.
    CHECK(ufr_ring_open_or_create("grouped", &settings, &other) == UFR_OK);
    ufr_ring_free(other);
    names[1] = "audit";
    CHECK(ufr_ring_open_or_create("grouped", &settings, &other) == UFR_ERR_SETTINGS_DIFFER);
    CHECK(says("audit"));
    settings.lanes = 4;
    names[1] = "log";
    CHECK(ufr_ring_open_or_create("grouped", &settings, &other) == UFR_ERR_SETTINGS_DIFFER);
    CHECK(says("lanes is by-class and not by-producer:4"));
    ufr_tail_free(tail);
    ufr_observer_free(observer);
    ufr_producer_free(producer);
    ufr_ring_free(ring);
    CHECK(ufr_ring_remove_with("grouped", &settings) == UFR_OK);

    // With room for others.
    settings.joinable = 1;
    ring = ring_of(&settings);
    CHECK(ufr_consumer_join(ring, "third", NULL, &consumer) == UFR_OK);
    CHECK(ufr_ring_groups(ring, NULL, 0) == 3);
    CHECK(ufr_try_recv(consumer, buffer, sizeof buffer, NULL) == UFR_ERR_EMPTY);
    ufr_consumer_free(consumer);
    ufr_ring_free(ring);
}

static void a_ring_with_lanes_counts_latencies(void) {
    ufr_settings settings = chosen(), with;
    ufr_latencies told;
    settings.lanes = UFR_LANES_BY_CLASS;
    settings.latency_histograms = 1;
    ufr_ring *const ring = ring_of(&settings);
    CHECK(ufr_ring_settings(ring, &with) == UFR_OK && with.latency_histograms == 1);
    ufr_producer *const producer = producer_of(ring);
    ufr_consumer *const consumer = consumer_of(ring);
    for (int at = 0; at < 10; at++) {
        send(producer, "report", UFR_CLASS_BULK);
    }
    send(producer, "cancel", UFR_CLASS_REAL_TIME);
    CHECK(next_is(consumer, "cancel"));
    for (int at = 0; at < 10; at++) {
        CHECK(next_is(consumer, "report"));
    }
    CHECK(ufr_consumer_flush(consumer) == UFR_OK);
    CHECK(ufr_latencies_init(&told) == UFR_OK && ufr_ring_latencies(ring, NULL, &told) == UFR_OK);
    CHECK(told.all.count == 11 && told.classes[UFR_CLASS_BULK].count == 10);
    CHECK(told.classes[UFR_CLASS_REAL_TIME].count == 1 && told.all.p50_ns > 0);
    ufr_producer_free(producer);
    ufr_consumer_free(consumer);
    ufr_ring_free(ring);
}

static void what_no_ring_can_have_is_refused(void) {
    ufr_settings settings = chosen();
    ufr_ring *ring;
    settings.lanes = -3;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_ARGUMENT && says("lanes is -3"));
    settings.lanes = 257;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_SETTINGS && says("1 to 256"));
    settings.lanes = INT32_MAX;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_SETTINGS && says("1 to 256"));
    settings.lanes = 2;
    settings.producer_side = UFR_SIDE_SHARED;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_SETTINGS && says("one owner"));
    settings = chosen();
    settings.lanes = UFR_LANES_ONE;
    settings.capacity_of[UFR_CLASS_BULK] = 64;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_SETTINGS);
    CHECK(says("UFR_LANES_BY_CLASS") && ring == NULL);
    settings.lanes = UFR_LANES_BY_CLASS;
    settings.capacity_of[UFR_CLASS_BULK] = 100;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_SETTINGS && says("try 128"));
    settings = chosen();
    settings.latency_histograms = 2;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_ARGUMENT && says("_histograms is 2"));
    settings.latency_histograms = 1;
    settings.timestamps = UFR_TIMESTAMPS_OFF;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_SETTINGS && says("no latencies"));
    settings = chosen();
    settings.group_count = 1;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_NULL && says("settings.groups"));
    settings.group_count = SIZE_MAX;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_SETTINGS && says("too many"));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    what_no_ring_can_have_is_refused();
    urgent_messages_overtake_others_in_a_ring_with_lanes_by_class();
    a_class_gets_its_share_where_lanes_age();
    each_producer_has_a_lane_and_messages_come_in_time_order_if_asked_for();
    what_comes_after_a_younger_message_says_so_and_is_counted();
    a_ring_is_made_with_groups_that_are_open_from_the_start(argv[1]);
    a_ring_with_lanes_counts_latencies();
    return 0;
}
