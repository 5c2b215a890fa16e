// What the functions of both headers do, from C: `interface DIRECTORY`.

#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ultrafastring_more.h>

#include "check.h"

// A ring on the heap, and both handles of it.
struct pair {
    ufr_ring *ring;
    ufr_producer *producer;
    ufr_consumer *consumer;
};

static struct pair pair_of(const ufr_settings *settings) {
    struct pair made;
    CHECK(ufr_ring_heap(settings, &made.ring) == UFR_OK);
    CHECK(ufr_producer_new(made.ring, &made.producer) == UFR_OK);
    CHECK(ufr_consumer_new(made.ring, &made.consumer) == UFR_OK);
    return made;
}

static void free_pair(struct pair *made) {
    ufr_ring_free(made->ring); // handles outlive it
    ufr_producer_free(made->producer);
    ufr_consumer_free(made->consumer);
}

static void null_is_an_error_and_never_a_crash(void) {
    ufr_ring *ring = (ufr_ring *)&ring;
    ufr_producer *producer = (ufr_producer *)&producer;
    ufr_consumer *consumer = (ufr_consumer *)&consumer;
    ufr_stats stats;
    ufr_settings settings = chosen();
    ufr_received received;
    ufr_message message;
    ufr_bytes bytes = {"x", 1};
    char byte;
    ufr_buffer buffer = {&byte, 1};
    void *data;

    CHECK(ufr_settings_init(NULL) == UFR_ERR_NULL && says("settings is null"));
    CHECK(ufr_ring_create(NULL, NULL, &ring) == UFR_ERR_NULL && ring == NULL && says("name"));
    CHECK(ufr_ring_create("name", NULL, NULL) == UFR_ERR_NULL);
    CHECK(ufr_ring_open(NULL, &ring) == UFR_ERR_NULL && ufr_ring_open("name", NULL) == UFR_ERR_NULL);
    CHECK(ufr_ring_open_or_create(NULL, NULL, &ring) == UFR_ERR_NULL);
    CHECK(ufr_ring_open_with(NULL, NULL, &ring) == UFR_ERR_NULL);
    CHECK(ufr_ring_heap(NULL, NULL) == UFR_ERR_NULL && ufr_ring_anonymous(NULL, NULL) == UFR_ERR_NULL);
    CHECK(ufr_ring_take_from(0, NULL, NULL) == UFR_ERR_NULL);
    CHECK(ufr_ring_remove(NULL) == UFR_ERR_NULL && ufr_ring_remove_with(NULL, NULL) == UFR_ERR_NULL);
    CHECK(ufr_ring_remove_stale(NULL, NULL, NULL) == UFR_ERR_NULL);
    CHECK(ufr_ring_hand_to(NULL, 0) == UFR_ERR_NULL && ufr_close(NULL) == UFR_ERR_NULL);
    CHECK(ufr_ring_stats(NULL, &stats) == UFR_ERR_NULL && ufr_ring_len(NULL) == UFR_ERR_NULL);
    CHECK(ufr_ring_settings(NULL, &settings) == UFR_ERR_NULL);
    CHECK(ufr_ring_living(NULL, UFR_PRODUCERS) == UFR_ERR_NULL);
    CHECK(ufr_ring_is_closed(NULL) == UFR_ERR_NULL && ufr_ring_reopen(NULL) == UFR_ERR_NULL);
    CHECK(ufr_producer_new(NULL, &producer) == UFR_ERR_NULL && producer == NULL);
    CHECK(ufr_producer_new_unless_closed(NULL, &producer) == UFR_ERR_NULL);
    CHECK(ufr_consumer_new(NULL, &consumer) == UFR_ERR_NULL && consumer == NULL);
    CHECK(ufr_send(NULL, "x", 1, 0) == UFR_ERR_NULL && ufr_try_send(NULL, "x", 1, 0) == UFR_ERR_NULL);
    CHECK(ufr_send_timeout(NULL, "x", 1, 0, 0) == UFR_ERR_NULL);
    CHECK(ufr_recv(NULL, &byte, 1, &received) == UFR_ERR_NULL);
    CHECK(ufr_try_recv(NULL, &byte, 1, NULL) == UFR_ERR_NULL);
    CHECK(ufr_recv_timeout(NULL, &byte, 1, NULL, 0) == UFR_ERR_NULL);
    CHECK(ufr_send_many(NULL, &bytes, 1, 0, NULL) == UFR_ERR_NULL);
    CHECK(ufr_try_send_many(NULL, &bytes, 1, 0, NULL) == UFR_ERR_NULL);
    CHECK(ufr_send_many_timeout(NULL, &bytes, 1, 0, 0, NULL) == UFR_ERR_NULL);
    CHECK(ufr_recv_many(NULL, &buffer, 1, &received) == UFR_ERR_NULL);
    CHECK(ufr_try_recv_many(NULL, &buffer, 1, &received) == UFR_ERR_NULL);
    CHECK(ufr_recv_many_timeout(NULL, &buffer, 1, &received, 0) == UFR_ERR_NULL);
    CHECK(ufr_reserve(NULL, 1, 0, &data) == UFR_ERR_NULL && ufr_try_reserve(NULL, 1, 0, &data) == UFR_ERR_NULL);
    CHECK(ufr_reserve_timeout(NULL, 1, 0, &data, 0) == UFR_ERR_NULL);
    CHECK(ufr_commit(NULL, 0) == UFR_ERR_NULL && ufr_cancel(NULL) == UFR_ERR_NULL);
    CHECK(ufr_borrow(NULL, &message, 1) == UFR_ERR_NULL && ufr_try_borrow(NULL, &message, 1) == UFR_ERR_NULL);
    CHECK(ufr_borrow_timeout(NULL, &message, 1, 0) == UFR_ERR_NULL && ufr_release(NULL, 1) == UFR_ERR_NULL);
    CHECK(ufr_producer_set_wait(NULL, 0) == UFR_ERR_NULL && ufr_consumer_set_wait(NULL, 0) == UFR_ERR_NULL);
    CHECK(ufr_producer_flush(NULL) == UFR_ERR_NULL && ufr_consumer_flush(NULL) == UFR_ERR_NULL);
    CHECK(ufr_producer_close(NULL) == UFR_ERR_NULL && ufr_consumer_await_next_stream(NULL) == UFR_ERR_NULL);
    CHECK(ufr_producer_end_when_deserted(NULL, 1) == UFR_ERR_NULL);
    CHECK(ufr_consumer_end_when_deserted(NULL, 1) == UFR_ERR_NULL);
    CHECK(ufr_producer_is_deserted(NULL) == UFR_ERR_NULL && ufr_consumer_is_deserted(NULL) == UFR_ERR_NULL);
    CHECK(ufr_producer_fd(NULL) == UFR_ERR_NULL && ufr_consumer_fd(NULL) == UFR_ERR_NULL);
    CHECK(ufr_producer_arm(NULL, 0) == UFR_ERR_NULL && ufr_consumer_arm(NULL) == UFR_ERR_NULL);
    CHECK(ufr_consumer_disarm(NULL) == UFR_ERR_NULL);
    CHECK(ufr_consumer_in_time_order(NULL, 0) == UFR_ERR_NULL && ufr_consumer_late(NULL) == UFR_ERR_NULL);
    CHECK(ufr_consumer_ageing(NULL, 2) == UFR_ERR_NULL && ufr_ring_late(NULL) == UFR_ERR_NULL);
    CHECK(ufr_ring_lanes(NULL, NULL, 0) == UFR_ERR_NULL);
    CHECK(ufr_observer_lanes(NULL, NULL, 0) == UFR_ERR_NULL);
    CHECK(ufr_observer_late(NULL) == UFR_ERR_NULL && ufr_tail_lane(NULL) == UFR_ERR_NULL);
    ufr_ring_free(NULL);
    ufr_producer_free(NULL);
    ufr_consumer_free(NULL);

    struct pair made = pair_of(NULL);
    CHECK(ufr_send(made.producer, NULL, 1, UFR_CLASS_NORMAL) == UFR_ERR_NULL);
    CHECK(ufr_send(made.producer, NULL, 0, UFR_CLASS_NORMAL) == UFR_OK); // it has no bytes
    CHECK(ufr_try_recv(made.consumer, NULL, 8, NULL) == UFR_ERR_NULL);
    CHECK(ufr_try_recv(made.consumer, NULL, 0, &received) == 0 && received.size == 0);
    bytes.data = NULL;
    CHECK(ufr_send_many(made.producer, &bytes, 1, UFR_CLASS_NORMAL, NULL) == UFR_ERR_NULL);
    CHECK(ufr_send_many(made.producer, NULL, 1, UFR_CLASS_NORMAL, NULL) == UFR_ERR_NULL);
    CHECK(ufr_send_many(made.producer, NULL, 0, UFR_CLASS_NORMAL, NULL) == UFR_OK);
    CHECK(ufr_try_recv_many(made.consumer, NULL, 1, &received) == UFR_ERR_NULL);
    CHECK(ufr_try_recv_many(made.consumer, &buffer, 1, NULL) == UFR_ERR_NULL);
    buffer.data = NULL;
    CHECK(ufr_try_recv_many(made.consumer, &buffer, 1, &received) == UFR_ERR_NULL);
    CHECK(ufr_try_borrow(made.consumer, NULL, 1) == UFR_ERR_NULL);
    CHECK(ufr_reserve(made.producer, 1, 0, NULL) == UFR_ERR_NULL);
    CHECK(ufr_ring_stats(made.ring, NULL) == UFR_ERR_NULL);
    CHECK(ufr_ring_settings(made.ring, NULL) == UFR_ERR_NULL);
    CHECK(ufr_producer_new(made.ring, NULL) == UFR_ERR_NULL);
    CHECK(ufr_consumer_new(made.ring, NULL) == UFR_ERR_NULL);
    free_pair(&made);
}

static void numbers_that_mean_nothing_are_refused(void) {
    struct pair made = pair_of(NULL);
    const int32_t wrong[] = {-1, 5, INT32_MAX, INT32_MIN};
    for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++) {
        CHECK(ufr_try_send(made.producer, "x", 1, wrong[at]) == UFR_ERR_INVALID_ARGUMENT);
        CHECK(says("UFR_CLASS_BULK"));
        CHECK(ufr_producer_set_wait(made.producer, wrong[at]) == UFR_ERR_INVALID_ARGUMENT);
        CHECK(ufr_consumer_end_when_deserted(made.consumer, wrong[at]) == UFR_ERR_INVALID_ARGUMENT);
        CHECK(ufr_ring_living(made.ring, wrong[at]) == UFR_ERR_INVALID_ARGUMENT);
    }
    CHECK(ufr_try_send(made.producer, "x", SIZE_MAX, UFR_CLASS_NORMAL) == UFR_ERR_TOO_LARGE);
    CHECK(ufr_commit(made.producer, 0) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(ufr_release(made.consumer, 1) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(ufr_consumer_arm(made.consumer) == UFR_ERR_INVALID_ARGUMENT && says("ufr_consumer_fd"));
    ufr_message message;
    CHECK(ufr_try_borrow(made.consumer, &message, 0) == UFR_ERR_INVALID_ARGUMENT);
    free_pair(&made);

    ufr_ring *ring;
    ufr_settings settings = chosen();
    settings.producer_side = 7;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_ARGUMENT && says("producer_side"));
    settings = chosen();
    settings.timestamps = -2;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_ARGUMENT);
    settings.timestamps = 3;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_SETTINGS);
    settings = chosen();
    settings.capacity = 1000;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_SETTINGS && says("try 1024"));
    settings = chosen();
    settings.size = 3; // nobody has called ufr_settings_init
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_ARGUMENT && says("ufr_settings_init"));
    settings = chosen();
    settings.accept_existing = 2;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_ARGUMENT && ring == NULL);
}

// The structure of a later header, which begins as that of this one.
struct larger {
    ufr_settings known;
    uint64_t later[2];
};

static void settings_of_a_later_header_are_taken_if_nothing_new_is_chosen_in_them(void) {
    struct larger settings;
    memset(&settings, 0, sizeof settings);
    settings.known = chosen();
    settings.known.size = sizeof settings;
    ufr_ring *ring;
    CHECK(ufr_ring_heap(&settings.known, &ring) == UFR_OK);
    ufr_ring_free(ring);
    settings.later[1] = 1;
    CHECK(ufr_ring_heap(&settings.known, &ring) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(says("does not know"));
}

// The structure of the first header. What lies behind it is not the library's.
struct smaller {
    unsigned char first[136];
    unsigned char beyond[256];
};

static void settings_of_an_earlier_header_are_taken_and_nothing_beyond_them(void) {
    struct smaller older;
    ufr_settings settings = chosen();
    ufr_ring *ring;
    CHECK(offsetof(ufr_settings, lanes) == sizeof older.first);
    settings.capacity = 32;
    settings.joinable = 1;
    memset(&older, 0xff, sizeof older);
    // It may end anywhere behind the first.
    for (size_t size = sizeof older.first; size <= sizeof settings; size++) {
        settings.size = size;
        memcpy(&older, &settings, size);
        CHECK(ufr_ring_heap((const ufr_settings *)(const void *)&older, &ring) == UFR_OK);
        ufr_settings with;
        CHECK(ufr_ring_settings(ring, &with) == UFR_OK && with.size == sizeof with);
        CHECK(with.capacity == 32 && with.joinable == 1);
        CHECK(with.lanes == UFR_LANES_ONE && with.latency_histograms == 0);
        ufr_ring_free(ring);
    }
    settings.size = sizeof older.first - 1;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_ERR_INVALID_ARGUMENT && says("settings_init"));
}

static void what_is_sent_is_received_with_all_that_there_is_to_know(void) {
    ufr_settings settings = chosen();
    settings.max_message = 100;
    struct pair made = pair_of(&settings);
    char buffer[100];
    ufr_received received;
    CHECK(ufr_try_recv(made.consumer, buffer, sizeof buffer, &received) == UFR_ERR_EMPTY);
    CHECK(ufr_recv_timeout(made.consumer, buffer, sizeof buffer, NULL, 1000) == UFR_ERR_TIMED_OUT);
    CHECK(ufr_send(made.producer, "hello", 5, UFR_CLASS_HIGH) == UFR_OK);
    CHECK(ufr_send_timeout(made.producer, "world", 5, UFR_CLASS_BULK, -1) == UFR_OK);
    CHECK(ufr_recv(made.consumer, buffer, sizeof buffer, &received) == 5);
    CHECK(memcmp(buffer, "hello", 5) == 0 && received.size == 5 && received.position == 0);
    CHECK(received.priority_class == UFR_CLASS_HIGH && received.redelivered == 0);
    CHECK(received.timestamp != 0);
    CHECK(ufr_recv_timeout(made.consumer, buffer, sizeof buffer, &received, -1) == 5);
    CHECK(received.position == 1 && received.priority_class == UFR_CLASS_BULK);

    memset(buffer, 7, sizeof buffer);
    CHECK(ufr_send(made.producer, buffer, 100, UFR_CLASS_NORMAL) == UFR_OK);
    CHECK(ufr_send(made.producer, buffer, 101, UFR_CLASS_NORMAL) == UFR_ERR_TOO_LARGE);
    CHECK(says("101") && says("100"));
    memset(&received, 0xff, sizeof received);
    CHECK(ufr_recv(made.consumer, buffer, 40, &received) == UFR_ERR_BUFFER_TOO_SMALL);
    CHECK(received.size == 100 && received.position == 0); // and it stays
    CHECK(ufr_try_recv(made.consumer, buffer, 99, NULL) == UFR_ERR_BUFFER_TOO_SMALL);
    CHECK(ufr_try_recv(made.consumer, buffer, received.size, &received) == 100);
    CHECK(received.position == 2 && buffer[99] == 7);
    free_pair(&made);
}

static void a_full_ring_says_so_and_a_closed_one_too(void) {
    ufr_settings settings = chosen();
    settings.capacity = settings.credit_limit = 2;
    settings.reserves[UFR_CLASS_REAL_TIME] = 1;
    struct pair made = pair_of(&settings);
    char buffer[40];
    CHECK(ufr_try_send(made.producer, "x", 1, UFR_CLASS_NORMAL) == UFR_OK);
    const int refused = ufr_try_send(made.producer, "x", 1, UFR_CLASS_NORMAL);
    CHECK(refused == UFR_ERR_OUT_OF_CREDIT || refused == UFR_ERR_FULL);
    CHECK(ufr_send_timeout(made.producer, "x", 1, UFR_CLASS_NORMAL, 1000) == UFR_ERR_TIMED_OUT);
    CHECK(ufr_try_send(made.producer, "x", 1, UFR_CLASS_REAL_TIME) == UFR_OK);
    CHECK(ufr_try_send(made.producer, "x", 1, UFR_CLASS_REAL_TIME) == UFR_ERR_FULL);
    CHECK(ufr_ring_len(made.ring) == 2);
    CHECK(ufr_close(made.ring) == UFR_OK && ufr_ring_is_closed(made.ring) == 1);
    CHECK(ufr_recv(made.consumer, buffer, 40, NULL) == 1);
    CHECK(ufr_recv(made.consumer, buffer, 40, NULL) == 1);
    CHECK(ufr_recv(made.consumer, buffer, 40, NULL) == UFR_ERR_CLOSED && says("closed"));
    CHECK(ufr_send(made.producer, "x", 1, UFR_CLASS_NORMAL) == UFR_ERR_CLOSED);
    ufr_producer *late;
    CHECK(ufr_producer_new_unless_closed(made.ring, &late) == UFR_ERR_CLOSED && late == NULL);
    CHECK(ufr_consumer_await_next_stream(made.consumer) == UFR_OK);
    CHECK(ufr_ring_reopen(made.ring) == UFR_OK && ufr_ring_is_closed(made.ring) == 0);
    CHECK(ufr_producer_new_unless_closed(made.ring, &late) == UFR_OK);
    CHECK(ufr_send(late, "again", 5, UFR_CLASS_NORMAL) == UFR_OK);
    CHECK(ufr_recv(made.consumer, buffer, 40, NULL) == 5);
    ufr_producer_free(late);
    free_pair(&made);
}

static void several_go_in_one_call(void) {
    struct pair made = pair_of(NULL);
    const ufr_bytes messages[] = {{"one", 3}, {NULL, 0}, {"three", 5}};
    char bytes[3][40];
    ufr_buffer buffers[3] = {{bytes[0], 40}, {bytes[1], 40}, {bytes[2], 40}};
    ufr_received received[3];
    size_t sent = 9;
    CHECK(ufr_try_recv_many(made.consumer, buffers, 3, received) == UFR_ERR_EMPTY);
    CHECK(ufr_recv_many_timeout(made.consumer, buffers, 3, received, 1000) == UFR_ERR_TIMED_OUT);
    CHECK(ufr_send_many(made.producer, messages, 3, UFR_CLASS_LOW, &sent) == UFR_OK && sent == 3);
    CHECK(ufr_try_send_many(made.producer, messages, 2, UFR_CLASS_LOW, &sent) == UFR_OK && sent == 2);
    CHECK(ufr_recv_many(made.consumer, buffers, 3, received) == 3);
    CHECK(received[0].size == 3 && received[1].size == 0 && received[2].size == 5);
    CHECK(memcmp(bytes[2], "three", 5) == 0 && received[2].position == 2);
    CHECK(received[2].priority_class == UFR_CLASS_LOW);
    buffers[0].capacity = 2;
    CHECK(ufr_recv_many(made.consumer, buffers, 3, received) == UFR_ERR_BUFFER_TOO_SMALL);
    CHECK(received[0].size == 3);
    char large[41];
    memset(large, 1, sizeof large);
    const ufr_bytes wrong[] = {{"one", 3}, {large, sizeof large}};
    CHECK(ufr_send_many(made.producer, wrong, 2, UFR_CLASS_LOW, &sent) == UFR_ERR_TOO_LARGE);
    CHECK(sent == 0 && ufr_ring_len(made.ring) == 2);
    free_pair(&made);
}

static void messages_are_written_and_read_in_place(void) {
    ufr_settings settings = chosen();
    settings.max_message = 4096;
    struct pair made = pair_of(&settings);
    void *place;
    ufr_message messages[8];
    char buffer[8];
    for (size_t size = 10; size <= 4096; size += 4086) {
        CHECK(ufr_reserve(made.producer, size, UFR_CLASS_HIGH, &place) == UFR_OK);
        memset(place, (int)size, size);
        CHECK(ufr_try_send(made.producer, "x", 1, UFR_CLASS_HIGH) == UFR_ERR_IN_USE);
        CHECK(says("ufr_commit"));
        CHECK(ufr_try_reserve(made.producer, 1, UFR_CLASS_HIGH, &place) == UFR_ERR_IN_USE);
        CHECK(ufr_commit(made.producer, size + 1) == UFR_ERR_INVALID_ARGUMENT); // it stays reserved
        CHECK(ufr_commit(made.producer, size - 1) == UFR_OK);
        CHECK(ufr_commit(made.producer, size) == UFR_ERR_INVALID_ARGUMENT);
    }
    CHECK(ufr_try_reserve(made.producer, 100, UFR_CLASS_HIGH, &place) == UFR_OK);
    CHECK(ufr_cancel(made.producer) == UFR_OK && ufr_ring_len(made.ring) >= 2);
    CHECK(ufr_try_reserve(made.producer, 5000, UFR_CLASS_HIGH, &place) == UFR_ERR_TOO_LARGE);
    CHECK(ufr_reserve_timeout(made.producer, 4, UFR_CLASS_HIGH, &place, 1000) == UFR_OK);
    memcpy(place, "last", 4);
    CHECK(ufr_commit(made.producer, 4) == UFR_OK);

    CHECK(ufr_borrow(made.consumer, messages, 2) == 2);
    CHECK(messages[0].about.size == 9 && ((const char *)messages[0].data)[8] == 10);
    CHECK(messages[1].about.size == 4095 && ((const char *)messages[1].data)[4094] == 0);
    CHECK(ufr_try_recv(made.consumer, buffer, 8, NULL) == UFR_ERR_IN_USE && says("ufr_release"));
    CHECK(ufr_try_borrow(made.consumer, messages, 1) == UFR_ERR_IN_USE);
    CHECK(ufr_release(made.consumer, 1) == UFR_OK);
    CHECK(((const char *)messages[1].data)[4094] == 0);
    CHECK(ufr_release(made.consumer, 100) == UFR_OK);
    CHECK(ufr_release(made.consumer, 1) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(ufr_borrow_timeout(made.consumer, messages, 8, -1) == 1);
    CHECK(messages[0].about.size == 4 && memcmp(messages[0].data, "last", 4) == 0);
    CHECK(ufr_release(made.consumer, 1) == UFR_OK);
    CHECK(ufr_try_borrow(made.consumer, messages, 8) == UFR_ERR_EMPTY);
    CHECK(ufr_borrow_timeout(made.consumer, messages, 8, 1000) == UFR_ERR_TIMED_OUT);

    // Handles that are freed give up, and give back, what they have.
    CHECK(ufr_reserve(made.producer, 50, UFR_CLASS_HIGH, &place) == UFR_OK);
    CHECK(ufr_send(made.producer, "x", 1, UFR_CLASS_HIGH) == UFR_ERR_IN_USE);
    free_pair(&made);
    made = pair_of(&settings);
    CHECK(ufr_send(made.producer, "x", 1, UFR_CLASS_HIGH) == UFR_OK);
    CHECK(ufr_borrow(made.consumer, messages, 8) == 1);
    free_pair(&made);
}

static void each_group_gets_every_message(void) {
    ufr_ring *ring;
    ufr_producer *producer;
    ufr_consumer *risk, *log, *second;
    char buffer[40];
    ufr_settings settings = chosen();
    ufr_join join;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_OK);
    CHECK(ufr_consumer_join(ring, "risk", NULL, &risk) == UFR_ERR_GROUPS && risk == NULL);
    ufr_ring_free(ring);
    settings.joinable = 1;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_OK);
    CHECK(ufr_ring_settings(ring, &settings) == UFR_OK && settings.joinable == 1);
    CHECK(ufr_consumer_new(ring, &risk) == UFR_ERR_GROUPS);
    CHECK(ufr_join_init(NULL) == UFR_ERR_NULL && ufr_join_init(&join) == UFR_OK);
    CHECK(ufr_consumer_join(ring, NULL, NULL, &risk) == UFR_ERR_NULL);
    CHECK(ufr_consumer_join(NULL, "risk", NULL, &risk) == UFR_ERR_NULL);
    join.start = UFR_START_RESUME;
    CHECK(ufr_consumer_join(ring, "risk", &join, &risk) == UFR_ERR_NO_SUCH_GROUP);
    join.start = 9;
    CHECK(ufr_consumer_join(ring, "risk", &join, &risk) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(says("start is 9"));
    CHECK(ufr_join_init(&join) == UFR_OK);
    join.sharing = UFR_SIDE_EXCLUSIVE;
    join.keeps = UFR_GROUP_DURABLE;
    CHECK(ufr_consumer_join(ring, "risk", &join, &risk) == UFR_OK);
    CHECK(ufr_consumer_join(ring, "log", NULL, &log) == UFR_OK);
    CHECK(ufr_consumer_join(ring, "risk", &join, &second) == UFR_ERR_SIDE_TAKEN);
    join.keeps = UFR_GROUP_PASSING;
    CHECK(ufr_consumer_join(ring, "risk", &join, &second) == UFR_ERR_GROUP_DIFFERS);
    CHECK(ufr_producer_new(ring, &producer) == UFR_OK);
    CHECK(ufr_send(producer, "to all", 6, UFR_CLASS_NORMAL) == UFR_OK);
    CHECK(ufr_recv(risk, buffer, 40, NULL) == 6 && ufr_recv(log, buffer, 40, NULL) == 6);
    CHECK(ufr_try_recv(risk, buffer, 40, NULL) == UFR_ERR_EMPTY);
    CHECK(ufr_ring_remove_group(ring, "risk") == UFR_ERR_BUSY);
    CHECK(ufr_ring_remove_group(NULL, "risk") == UFR_ERR_NULL);
    ufr_consumer_free(risk);
    CHECK(ufr_ring_remove_group(ring, "risk") == UFR_OK);
    CHECK(ufr_ring_remove_group(ring, "risk") == UFR_ERR_NO_SUCH_GROUP);
    ufr_consumer_free(log);
    ufr_producer_free(producer);
    ufr_ring_free(ring);
}

static void a_group_that_is_slow_may_be_evicted(void) {
    ufr_settings settings = chosen();
    settings.joinable = 1;
    settings.capacity = 8;
    ufr_ring *ring;
    ufr_producer *producer;
    ufr_consumer *slow, *waits;
    ufr_join join;
    ufr_group_info groups[2];
    ufr_received received;
    ufr_message message;
    char buffer[40];
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_OK && ufr_ring_groups(ring, NULL, 0) == 0);
    CHECK(ufr_ring_groups(NULL, groups, 2) == UFR_ERR_NULL);
    CHECK(ufr_ring_groups(ring, NULL, 2) == UFR_ERR_NULL);
    CHECK(ufr_join_init(&join) == UFR_OK);
    join.evict_after_ns = -2;
    CHECK(ufr_consumer_join(ring, "slow", &join, &slow) == UFR_ERR_INVALID_ARGUMENT);
    join.evict_after_ns = 5000000;
    CHECK(ufr_consumer_join(ring, "slow", &join, &slow) == UFR_OK);
    join.evict_after_ns = UFR_SLOW_WAIT;
    CHECK(ufr_consumer_join(ring, "slow", &join, &waits) == UFR_ERR_GROUP_DIFFERS);
    CHECK(ufr_consumer_join(ring, "waits", &join, &waits) == UFR_OK);
    CHECK(ufr_ring_groups(ring, groups, 1) == 2 && strcmp(groups[0].name, "slow") == 0);
    CHECK(groups[0].evict_after_ns == 5000000 && groups[0].members == 1);
    CHECK(groups[0].keeps == UFR_GROUP_PASSING && groups[0].sharing == UFR_SIDE_SHARED);
    CHECK(ufr_producer_new(ring, &producer) == UFR_OK);
    for (int sent = 0; sent < 20; sent++) {
        CHECK(ufr_send_timeout(producer, "x", 1, UFR_CLASS_NORMAL, INT64_C(10000000000)) == UFR_OK);
        CHECK(ufr_recv(waits, buffer, 40, NULL) == 1);
    }
    CHECK(ufr_ring_groups(ring, groups, 2) == 2 && groups[0].state == UFR_GROUP_EVICTED);
    CHECK(groups[1].state == UFR_GROUP_OPEN && groups[1].evict_after_ns == UFR_SLOW_WAIT);
    CHECK(ufr_try_borrow(slow, &message, 1) == UFR_ERR_NOT_IN_PLACE && says("copy"));
    CHECK(ufr_recv(slow, buffer, 40, &received) == UFR_ERR_EVICTED && says("missed 20"));
    CHECK(received.position == 20 && received.size == 0);
    CHECK(ufr_send(producer, "next", 4, UFR_CLASS_NORMAL) == UFR_OK);
    CHECK(ufr_recv(slow, buffer, 40, &received) == 4 && received.position == 20);
    ufr_consumer_free(slow);
    ufr_consumer_free(waits);
    ufr_producer_free(producer);
    ufr_ring_free(ring);
}

static void tail_readers_read_and_nobody_waits_for_them(const char *directory) {
    ufr_settings settings = chosen();
    settings.directory = directory;
    ufr_ring *ring;
    ufr_producer *producer;
    ufr_tail *tail, *other;
    ufr_received received;
    const void *data;
    uint64_t position, missed;
    CHECK(ufr_ring_create("tail", &settings, &ring) == UFR_OK);
    CHECK(ufr_tail_open("tail", &settings, UFR_START_LATEST, 0, &tail) == UFR_ERR_GROUPS);
    CHECK(tail == NULL);
    ufr_ring_free(ring);
    CHECK(ufr_ring_remove_with("tail", &settings) == UFR_OK);
    settings.joinable = 1;
    settings.max_message = 100;
    CHECK(ufr_tail_open("tail", &settings, 0, 0, &tail) == UFR_ERR_NO_SUCH_RING);
    CHECK(ufr_ring_create("tail", &settings, &ring) == UFR_OK);
    CHECK(ufr_producer_new(ring, &producer) == UFR_OK);
    CHECK(ufr_tail_open(NULL, &settings, 0, 0, &tail) == UFR_ERR_NULL);
    CHECK(ufr_tail_open("tail", &settings, 0, 0, NULL) == UFR_ERR_NULL);
    CHECK(ufr_tail_open("tail", &settings, UFR_START_RESUME, 0, &tail) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(ufr_tail_open("tail", &settings, UFR_START_LATEST, 0, &tail) == UFR_OK);
    CHECK(ufr_tail_next(NULL, &data, NULL) == UFR_ERR_NULL);
    CHECK(ufr_tail_next(tail, NULL, NULL) == UFR_ERR_NULL);
    CHECK(ufr_tail_try_next(NULL, &data, NULL) == UFR_ERR_NULL);
    CHECK(ufr_tail_next_timeout(NULL, &data, NULL, 0) == UFR_ERR_NULL);
    CHECK(ufr_tail_latest(NULL, &data, NULL) == UFR_ERR_NULL);
    CHECK(ufr_tail_progress(NULL, &position, &missed) == UFR_ERR_NULL);
    CHECK(ufr_tail_progress(tail, NULL, NULL) == UFR_OK);
    CHECK(ufr_tail_set_poll(NULL, 1) == UFR_ERR_NULL);
    CHECK(ufr_tail_set_poll(tail, -1) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(ufr_tail_set_poll(tail, 100000) == UFR_OK);
    ufr_tail_free(NULL);

    CHECK(ufr_tail_try_next(tail, &data, &received) == UFR_ERR_EMPTY);
    CHECK(ufr_tail_next_timeout(tail, &data, NULL, 1000) == UFR_ERR_TIMED_OUT);
    char large[100];
    memset(large, 7, sizeof large);
    CHECK(ufr_send(producer, large, sizeof large, UFR_CLASS_HIGH) == UFR_OK);
    CHECK(ufr_send(producer, NULL, 0, UFR_CLASS_LOW) == UFR_OK);
    CHECK(ufr_tail_next(tail, &data, &received) == 100 && memcmp(data, large, 100) == 0);
    CHECK(received.position == 0 && received.priority_class == UFR_CLASS_HIGH);
    CHECK(ufr_tail_next_timeout(tail, &data, NULL, INT64_MAX) == 0 && data != NULL);
    for (uint64_t sent = 2; sent < 1000; sent++) {
        CHECK(ufr_try_send(producer, &sent, sizeof sent, UFR_CLASS_NORMAL) == UFR_OK);
    }
    CHECK(ufr_tail_try_next(tail, &data, &received) == UFR_ERR_OVERRUN && says("overwritten"));
    CHECK(ufr_tail_progress(tail, &position, &missed) == UFR_OK && missed > 0);
    CHECK(received.position == missed && position == 2 + missed);
    CHECK(ufr_tail_open("tail", &settings, UFR_START_POSITION, position, &other) == UFR_OK);
    CHECK(ufr_tail_next(other, &data, &received) == 8 && memcmp(data, &position, 8) == 0);
    ufr_tail_free(other);
    CHECK(ufr_tail_latest(tail, &data, &received) == 8 && received.position == 999);
    CHECK(ufr_tail_latest(tail, &data, &received) == UFR_ERR_EMPTY);
    CHECK(ufr_producer_close(producer) == UFR_OK);
    CHECK(ufr_tail_next(tail, &data, NULL) == UFR_ERR_CLOSED);
    ufr_tail_free(tail);
    ufr_producer_free(producer);
    ufr_ring_free(ring);
    CHECK(ufr_ring_remove_with("tail", &settings) == UFR_OK);
}

static void an_observer_looks_and_nobody_notices(const char *directory) {
    ufr_settings settings = chosen();
    settings.directory = directory;
    settings.joinable = 1;
    settings.capacity = 16;
    ufr_ring *ring;
    ufr_producer *producer;
    ufr_consumer *consumer;
    ufr_observer *observer = (ufr_observer *)&ring;
    ufr_stats stats;
    ufr_group_info group;
    ufr_settings with;
    CHECK(ufr_observer_open("seen", &settings, &observer) == UFR_ERR_NO_SUCH_RING);
    CHECK(observer == NULL);
    CHECK(ufr_ring_create("seen", &settings, &ring) == UFR_OK);
    CHECK(ufr_observer_open("seen", &settings, NULL) == UFR_ERR_NULL);
    CHECK(ufr_observer_open("seen", &settings, &observer) == UFR_OK);
    CHECK(ufr_observer_len(observer) == 0 && ufr_observer_groups(observer, NULL, 0) == 0);
    CHECK(ufr_consumer_join(ring, "risk", NULL, &consumer) == UFR_OK);
    CHECK(ufr_producer_new(ring, &producer) == UFR_OK);
    CHECK(ufr_send(producer, "abc", 3, UFR_CLASS_HIGH) == UFR_OK);
    CHECK(ufr_producer_flush(producer) == UFR_OK);
    CHECK(ufr_observer_len(observer) == 1);
    CHECK(ufr_observer_stats(observer, &stats) == UFR_OK && stats.sent == 1 && stats.received == 0);
    CHECK(stats.classes[UFR_CLASS_HIGH].sent_bytes == 3);
    CHECK(ufr_observer_settings(observer, &with) == UFR_OK && with.size == sizeof with);
    CHECK(with.capacity == 16 && with.joinable == 1);
    CHECK(ufr_observer_living(observer, UFR_PRODUCERS) == 1);
    CHECK(ufr_observer_living(observer, 2) == UFR_ERR_INVALID_ARGUMENT && says("no side"));
    CHECK(ufr_observer_groups(observer, &group, 1) == 1 && strcmp(group.name, "risk") == 0);
    CHECK(group.lag == 1 && ufr_observer_is_damaged(observer) == 0);
    ufr_producer_free(producer);
    ufr_consumer_free(consumer);
    CHECK(ufr_observer_living(observer, UFR_PRODUCERS) == 0);
    ufr_ring_free(ring);
    CHECK(ufr_ring_remove_with("seen", &settings) == UFR_OK);
    CHECK(ufr_observer_stats(observer, &stats) == UFR_OK && stats.sent == 1); // it stays mapped
    CHECK(ufr_observer_stats(observer, NULL) == UFR_ERR_NULL);
    CHECK(ufr_observer_settings(observer, NULL) == UFR_ERR_NULL);
    CHECK(ufr_observer_stats(NULL, &stats) == UFR_ERR_NULL);
    CHECK(ufr_observer_settings(NULL, &with) == UFR_ERR_NULL);
    CHECK(ufr_observer_len(NULL) == UFR_ERR_NULL && ufr_observer_living(NULL, 0) == UFR_ERR_NULL);
    CHECK(ufr_observer_groups(NULL, &group, 1) == UFR_ERR_NULL);
    CHECK(ufr_observer_groups(observer, NULL, 1) == UFR_ERR_NULL);
    CHECK(ufr_observer_is_damaged(NULL) == UFR_ERR_NULL);
    ufr_observer_free(observer);
    ufr_observer_free(NULL);
}

static void latencies_are_told_of_all_groups_and_of_each(const char *directory) {
    ufr_settings settings = chosen();
    settings.directory = directory;
    ufr_ring *ring;
    ufr_producer *producer;
    ufr_consumer *consumer;
    ufr_observer *observer;
    ufr_latencies all, risk;
    char buffer[40];
    CHECK(ufr_latencies_init(NULL) == UFR_ERR_NULL && ufr_latencies_init(&all) == UFR_OK);
    CHECK(all.size == sizeof all && ufr_latencies_init(&risk) == UFR_OK);
    const char *const groups[] = {"risk", "log"};
    settings.groups = groups;
    settings.group_count = 2;
    settings.latency_histograms = 1;
    CHECK(ufr_ring_create("timed", &settings, &ring) == UFR_OK);
    CHECK(ufr_observer_open("timed", &settings, &observer) == UFR_OK);
    CHECK(ufr_ring_latencies(ring, NULL, &all) == UFR_OK && all.all.count == 0);
    CHECK(all.all.mean_ns == 0 && all.all.max_ns == 0);
    CHECK(ufr_producer_new(ring, &producer) == UFR_OK);
    CHECK(ufr_send(producer, "abc", 3, UFR_CLASS_HIGH) == UFR_OK);
    for (int at = 0; at < 2; at++) {
        CHECK(ufr_consumer_join(ring, groups[at], NULL, &consumer) == UFR_OK);
        CHECK(ufr_recv(consumer, buffer, 40, NULL) == 3);
        ufr_consumer_free(consumer);
    }
    CHECK(ufr_ring_latencies(ring, NULL, &all) == UFR_OK && all.all.count == 2);
    CHECK(ufr_observer_latencies(observer, "risk", &risk) == UFR_OK);
    CHECK(risk.classes[UFR_CLASS_HIGH].count == 1 && risk.classes[UFR_CLASS_LOW].count == 0);
    CHECK(risk.all.count == 1 && risk.size == sizeof risk);
    CHECK(risk.all.p50_ns > 0 && risk.all.p50_ns <= risk.all.p90_ns && risk.all.mean_ns > 0);
    CHECK(risk.all.p90_ns <= risk.all.p99_ns && risk.all.p99_ns <= risk.all.p999_ns);
    CHECK(risk.all.p999_ns <= risk.all.max_ns && risk.classes[UFR_CLASS_LOW].max_ns == 0);
    CHECK(ufr_ring_latencies(ring, "none", &risk) == UFR_ERR_NO_SUCH_GROUP && says("none"));
    CHECK(ufr_observer_latencies(observer, NULL, NULL) == UFR_ERR_NULL);
    CHECK(ufr_ring_latencies(NULL, NULL, &all) == UFR_ERR_NULL);
    CHECK(ufr_observer_latencies(NULL, NULL, &all) == UFR_ERR_NULL);
    all.size = 8;
    CHECK(ufr_ring_latencies(ring, NULL, &all) == UFR_ERR_INVALID_ARGUMENT && says("_init"));
    ufr_observer_free(observer);
    ufr_producer_free(producer);
    ufr_ring_free(ring);
    CHECK(ufr_ring_remove_with("timed", &settings) == UFR_OK);
    CHECK(ufr_ring_heap(NULL, &ring) == UFR_OK);
    CHECK(ufr_ring_latencies(ring, NULL, &risk) == UFR_ERR_INVALID_ARGUMENT && says("without"));
    CHECK(says("settings.latency_histograms"));
    ufr_ring_free(ring);
}

static void what_is_counted_is_told(void) {
    ufr_settings settings = chosen();
    settings.capacity = 8;
    settings.producer_side = UFR_SIDE_EXCLUSIVE;
    settings.timestamps = 16;
    struct pair made = pair_of(&settings);
    char buffer[40];
    ufr_stats stats;
    CHECK(ufr_send(made.producer, "abc", 3, UFR_CLASS_LOW) == UFR_OK);
    CHECK(ufr_send(made.producer, "abc", 3, UFR_CLASS_LOW) == UFR_OK);
    CHECK(ufr_recv(made.consumer, buffer, 40, NULL) == 3);
    CHECK(ufr_producer_flush(made.producer) == UFR_OK && ufr_consumer_flush(made.consumer) == UFR_OK);
    CHECK(ufr_ring_stats(made.ring, &stats) == UFR_OK);
    CHECK(stats.sent == 2 && stats.received == 1 && stats.credit_limit == 8);
    CHECK(stats.classes[UFR_CLASS_LOW].sent_bytes == 6 && stats.classes[UFR_CLASS_LOW].received == 1);
    CHECK(ufr_ring_living(made.ring, UFR_PRODUCERS) == 1);
    CHECK(ufr_ring_living(made.ring, UFR_CONSUMERS) == 1);
    ufr_settings with;
    CHECK(ufr_ring_settings(made.ring, &with) == UFR_OK && with.size == sizeof with);
    CHECK(with.capacity == 8 && with.max_message == 40 && with.timestamps == 16);
    CHECK(with.producer_side == UFR_SIDE_EXCLUSIVE && with.consumer_side == UFR_SIDE_SHARED);
    ufr_producer *second;
    CHECK(ufr_producer_new(made.ring, &second) == UFR_ERR_SIDE_TAKEN && says("exclusive"));
    free_pair(&made);
}

static void a_ring_has_a_name_and_errors_about_it_can_be_read(const char *directory) {
    ufr_settings settings = chosen();
    settings.directory = directory;
    ufr_ring *ring, *other;
    CHECK(ufr_ring_open_with("absent", &settings, &ring) == UFR_ERR_NO_SUCH_RING && ring == NULL);
    CHECK(says("absent") && says("create the ring first"));
    CHECK(ufr_ring_create("a/b", &settings, &ring) == UFR_ERR_BAD_NAME);
    CHECK(ufr_ring_create("\xff\xfe", &settings, &ring) == UFR_ERR_BAD_NAME);
    CHECK(ufr_ring_create("here", &settings, &ring) == UFR_OK);
    CHECK(ufr_ring_create("here", &settings, &other) == UFR_ERR_NAME_TAKEN);
    CHECK(ufr_ring_open_or_create("here", &settings, &other) == UFR_OK);
    ufr_ring_free(other);
    settings.capacity = 1024;
    CHECK(ufr_ring_open_or_create("here", &settings, &other) == UFR_ERR_SETTINGS_DIFFER);
    CHECK(says("capacity is 256 and not 1024"));
    settings.accept_existing = 1;
    CHECK(ufr_ring_open_or_create("here", &settings, &other) == UFR_OK);
    ufr_ring_free(other);
    int32_t removed = 9;
    CHECK(ufr_ring_remove_stale("here", &settings, &removed) == UFR_OK && removed == 0);
    ufr_ring_free(ring);

    // Another layout version.
    char path[4096];
    snprintf(path, sizeof path, "%s/ufr-here", directory);
    const int file = open(path, O_RDWR);
    uint32_t version = 0;
    CHECK(pread(file, &version, 4, 8) == 4 && version != 0);
    version += 1;
    CHECK(pwrite(file, &version, 4, 8) == 4 && close(file) == 0);
    CHECK(ufr_ring_open_with("here", &settings, &ring) == UFR_ERR_LAYOUT_VERSION);
    CHECK(says("layout version") && says("this program knows version"));
    CHECK(ufr_ring_remove_with("here", &settings) == UFR_OK);
    CHECK(ufr_ring_remove_with("here", &settings) == UFR_ERR_NO_SUCH_RING);
    settings.directory = "/nowhere";
    CHECK(ufr_ring_open_with("here", &settings, &ring) == UFR_ERR_NO_DIRECTORY);
}

static void a_ring_goes_over_a_socket(void) {
    int ends[2];
    ufr_ring *here, *there;
    ufr_producer *producer;
    ufr_consumer *consumer;
    char buffer[40];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK(ufr_ring_heap(NULL, &here) == UFR_OK);
    CHECK(ufr_ring_hand_to(here, ends[0]) == UFR_ERR_NOT_HANDED_OVER);
    ufr_ring_free(here);
    CHECK(ufr_ring_anonymous(NULL, &here) == UFR_OK);
    CHECK(ufr_ring_hand_to(here, ends[0]) == UFR_OK);
    CHECK(ufr_ring_take_from(ends[1], NULL, &there) == UFR_OK);
    CHECK(ufr_ring_hand_to(here, -1) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(ufr_ring_hand_to(here, 1000000) == UFR_ERR_NOT_HANDED_OVER); // none is open
    CHECK(ufr_producer_new(here, &producer) == UFR_OK && ufr_consumer_new(there, &consumer) == UFR_OK);
    CHECK(ufr_send(producer, "over", 4, UFR_CLASS_NORMAL) == UFR_OK);
    CHECK(ufr_recv(consumer, buffer, 40, NULL) == 4 && memcmp(buffer, "over", 4) == 0);
    ufr_producer_free(producer);
    ufr_consumer_free(consumer);
    ufr_ring_free(here);
    ufr_ring_free(there);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0); // they were left open
}

static void *send_late(void *producer) {
    usleep(30000);
    CHECK(ufr_send(producer, "late", 4, UFR_CLASS_NORMAL) == UFR_OK);
    return NULL;
}

static void any_size_and_any_time_may_be_asked_for(void) {
    struct pair made = pair_of(NULL);
    ufr_received received[2];
    char bytes[2][40];
    void *place;
    ufr_buffer buffers[2] = {{bytes[0], SIZE_MAX}, {bytes[1], SIZE_MAX}};
    CHECK(ufr_send_timeout(made.producer, "one", 3, UFR_CLASS_NORMAL, INT64_MAX) == UFR_OK);
    CHECK(ufr_send_timeout(made.producer, "two", 3, UFR_CLASS_NORMAL, INT64_MIN) == UFR_OK);
    CHECK(ufr_recv_many_timeout(made.consumer, buffers, 2, received, INT64_MAX) == 2);
    CHECK(received[1].size == 3 && memcmp(bytes[1], "two", 3) == 0);
    CHECK(ufr_try_recv_many(made.consumer, buffers, 0, received) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(ufr_reserve(made.producer, SIZE_MAX, UFR_CLASS_NORMAL, &place) == UFR_ERR_TOO_LARGE);
    CHECK(ufr_reserve_timeout(made.producer, 0, UFR_CLASS_NORMAL, &place, INT64_MAX) == UFR_OK);
    CHECK(ufr_commit(made.producer, SIZE_MAX) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(ufr_commit(made.producer, 0) == UFR_OK);
    CHECK(ufr_recv_timeout(made.consumer, bytes[0], SIZE_MAX, received, INT64_MAX) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, send_late, made.producer) == 0);
    CHECK(ufr_recv_timeout(made.consumer, bytes[0], SIZE_MAX, received, INT64_MAX) == 4);
    CHECK(pthread_join(thread, NULL) == 0);
    free_pair(&made);
}

static void several_consumers_are_waited_for_at_once(void) {
    struct pair one = pair_of(NULL), two = pair_of(NULL);
    ufr_consumer *both[] = {one.consumer, two.consumer};
    ufr_consumer *twice[] = {one.consumer, two.consumer, one.consumer};
    ufr_consumer *lacking[] = {one.consumer, NULL, NULL};
    ufr_message message;
    char buffer[40];
    CHECK(ufr_wait_any(NULL, 1, 0) == UFR_ERR_NULL);
    CHECK(ufr_wait_any(lacking, 3, 0) == UFR_ERR_NULL);
    CHECK(ufr_wait_any(both, 0, 0) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(ufr_wait_any(both, SIZE_MAX, 0) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(ufr_wait_any(twice, 3, 0) == UFR_ERR_INVALID_ARGUMENT && says("twice"));
    CHECK(ufr_wait_any(both, 2, 0) == UFR_ERR_TIMED_OUT);
    CHECK(ufr_wait_any(both, 2, 1000000) == UFR_ERR_TIMED_OUT && says("no message came"));
    CHECK(ufr_send(two.producer, "two", 3, UFR_CLASS_NORMAL) == UFR_OK);
    CHECK(ufr_wait_any(both, 2, -1) == 1);
    CHECK(ufr_try_borrow(two.consumer, &message, 1) == 1);
    CHECK(ufr_wait_any(both, 2, 0) == UFR_ERR_IN_USE && says("borrowed"));
    CHECK(ufr_release(two.consumer, 1) == UFR_OK);
    // Each of two that have messages has its turn.
    int first = 0;
    for (int at = 0; at < 40; at++) {
        CHECK(ufr_send(one.producer, "1", 1, UFR_CLASS_NORMAL) == UFR_OK);
        CHECK(ufr_send(two.producer, "2", 1, UFR_CLASS_NORMAL) == UFR_OK);
    }
    for (int at = 0; at < 40; at++) {
        const ptrdiff_t ready = ufr_wait_any(both, 2, INT64_MAX);
        CHECK(ready == 0 || ready == 1);
        CHECK(ufr_try_recv(both[ready], buffer, 40, NULL) == 1);
        first += ready == 0;
    }
    CHECK(first == 20);
    while (ufr_try_recv(one.consumer, buffer, 40, NULL) == 1 ||
           ufr_try_recv(two.consumer, buffer, 40, NULL) == 1) {
    }
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, send_late, one.producer) == 0);
    CHECK(ufr_wait_any(both, 2, INT64_MAX) == 0); // asleep meanwhile
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(ufr_recv(one.consumer, buffer, 40, NULL) == 4);
    CHECK(ufr_producer_close(two.producer) == UFR_OK);
    CHECK(ufr_wait_any(both, 2, -1) == 1);
    CHECK(ufr_try_recv(two.consumer, buffer, 40, NULL) == UFR_ERR_EMPTY);
    CHECK(ufr_recv(two.consumer, buffer, 40, NULL) == UFR_ERR_CLOSED);
    free_pair(&one);
    free_pair(&two);
}

// A child that ends as programs do, and frees what it was born with, disturbs nobody.
static void a_forked_child_may_free_the_handles_of_its_parent(const char *directory) {
    ufr_settings settings = chosen();
    settings.directory = directory;
    settings.producer_side = UFR_SIDE_EXCLUSIVE;
    ufr_producer *other;
    struct pair made;
    char buffer[40];
    ufr_message message;
    CHECK(ufr_ring_create("forked", &settings, &made.ring) == UFR_OK);
    CHECK(ufr_producer_new(made.ring, &made.producer) == UFR_OK);
    CHECK(ufr_consumer_new(made.ring, &made.consumer) == UFR_OK);
    CHECK(ufr_send(made.producer, "one", 3, UFR_CLASS_NORMAL) == UFR_OK);
    CHECK(ufr_borrow(made.consumer, &message, 1) == 1);
    const pid_t child = fork();
    if (child == 0) {
        CHECK(ufr_producer_new(made.ring, &other) == UFR_ERR_FORKED && says("fork"));
        ufr_try_send(made.producer, "child", 5, UFR_CLASS_NORMAL); // stays in the child
        free_pair(&made);
        _exit(0);
    }
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    CHECK(memcmp(message.data, "one", 3) == 0 && ufr_release(made.consumer, 1) == UFR_OK);
    CHECK(ufr_producer_new(made.ring, &other) == UFR_ERR_SIDE_TAKEN);
    CHECK(ufr_send(made.producer, "two", 3, UFR_CLASS_NORMAL) == UFR_OK);
    CHECK(ufr_recv(made.consumer, buffer, 40, NULL) == 3 && memcmp(buffer, "two", 3) == 0);
    free_pair(&made);
    CHECK(ufr_ring_remove_with("forked", &settings) == UFR_OK);
}

static void an_event_loop_is_told(void) {
    ufr_settings settings = chosen();
    settings.capacity = 1;
    struct pair made = pair_of(&settings);
    char buffer[40];
    pthread_t thread;
    struct pollfd event = {ufr_consumer_fd(made.consumer), POLLIN, 0};
    CHECK(event.fd >= 0 && ufr_consumer_fd(made.consumer) == event.fd);
    CHECK(pthread_create(&thread, NULL, send_late, made.producer) == 0);
    for (;;) {
        if (ufr_try_recv(made.consumer, buffer, 40, NULL) == 4) {
            break;
        }
        const int armed = ufr_consumer_arm(made.consumer);
        CHECK(armed == 0 || armed == 1);
        CHECK(armed == 1 || poll(&event, 1, 5000) == 1);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(ufr_consumer_disarm(made.consumer) == UFR_OK);

    const int room = ufr_producer_fd(made.producer);
    CHECK(room >= 0);
    CHECK(ufr_producer_arm(made.producer, UFR_CLASS_NORMAL) == 1);
    CHECK(ufr_send(made.producer, "full", 4, UFR_CLASS_NORMAL) == UFR_OK);
    CHECK(ufr_producer_arm(made.producer, UFR_CLASS_NORMAL) == 0);
    CHECK(ufr_producer_arm(made.producer, 9) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(ufr_close(made.ring) == UFR_OK);
    CHECK(ufr_recv(made.consumer, buffer, 40, NULL) == 4);
    CHECK(ufr_consumer_arm(made.consumer) == UFR_ERR_CLOSED);
    free_pair(&made);
}

static void waits_end_when_the_last_peer_has_left(void) {
    ufr_settings settings = chosen();
    settings.capacity = 1;
    struct pair made = pair_of(&settings);
    char buffer[40];
    CHECK(ufr_producer_set_wait(made.producer, UFR_WAIT_PARK) == UFR_OK);
    CHECK(ufr_consumer_set_wait(made.consumer, UFR_WAIT_SPIN_THEN_YIELD) == UFR_OK);
    CHECK(ufr_consumer_end_when_deserted(made.consumer, 1) == UFR_OK);
    CHECK(ufr_consumer_is_deserted(made.consumer) == 0);
    CHECK(ufr_send(made.producer, "x", 1, UFR_CLASS_NORMAL) == UFR_OK);
    ufr_producer_free(made.producer);
    CHECK(ufr_consumer_is_deserted(made.consumer) == 1);
    CHECK(ufr_recv(made.consumer, buffer, 40, NULL) == 1);
    CHECK(ufr_recv(made.consumer, buffer, 40, NULL) == UFR_ERR_DESERTED && says("left"));
    CHECK(ufr_producer_new(made.ring, &made.producer) == UFR_OK);
    CHECK(ufr_producer_end_when_deserted(made.producer, 1) == UFR_OK);
    CHECK(ufr_producer_is_deserted(made.producer) == 0);
    ufr_consumer_free(made.consumer);
    CHECK(ufr_send(made.producer, "x", 1, UFR_CLASS_NORMAL) == UFR_OK);
    CHECK(ufr_send(made.producer, "x", 1, UFR_CLASS_NORMAL) == UFR_ERR_DESERTED);
    CHECK(ufr_producer_is_deserted(made.producer) == 1);
    ufr_producer_free(made.producer);
    ufr_ring_free(made.ring);
}

static void *fail_elsewhere(void *nothing) {
    CHECK(ufr_last_error()[0] == '\0');
    CHECK(ufr_close(NULL) == UFR_ERR_NULL && says("ring is null"));
    return nothing;
}

static void each_thread_has_its_own_last_error(void) {
    pthread_t thread;
    ufr_ring *ring;
    CHECK(ufr_ring_create("", NULL, &ring) == UFR_ERR_BAD_NAME);
    CHECK(pthread_create(&thread, NULL, fail_elsewhere, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(says("cannot be a ring's name"));
}

static void every_code_means_something(void) {
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", UFR_VERSION_MAJOR, UFR_VERSION_MINOR,
             UFR_VERSION_PATCH);
    CHECK(strcmp(ufr_version(), version) == 0);
    for (int32_t code = UFR_ERR_NO_FREE_LANE; code <= UFR_OK; code++) {
        CHECK(strcmp(ufr_strerror(code), ufr_strerror(1)) != 0);
    }
    CHECK(ufr_strerror(INT32_MIN) != NULL && ufr_strerror(INT32_MAX) != NULL);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    every_code_means_something();
    null_is_an_error_and_never_a_crash();
    numbers_that_mean_nothing_are_refused();
    settings_of_a_later_header_are_taken_if_nothing_new_is_chosen_in_them();
    settings_of_an_earlier_header_are_taken_and_nothing_beyond_them();
    what_is_sent_is_received_with_all_that_there_is_to_know();
    a_full_ring_says_so_and_a_closed_one_too();
    several_go_in_one_call();
    messages_are_written_and_read_in_place();
    each_group_gets_every_message();
    a_group_that_is_slow_may_be_evicted();
    tail_readers_read_and_nobody_waits_for_them(argv[1]);
    an_observer_looks_and_nobody_notices(argv[1]);
    latencies_are_told_of_all_groups_and_of_each(argv[1]);
    what_is_counted_is_told();
    a_ring_has_a_name_and_errors_about_it_can_be_read(argv[1]);
    a_ring_goes_over_a_socket();
    any_size_and_any_time_may_be_asked_for();
    several_consumers_are_waited_for_at_once();
    a_forked_child_may_free_the_handles_of_its_parent(argv[1]);
    an_event_loop_is_told();
    waits_end_when_the_last_peer_has_left();
    each_thread_has_its_own_last_error();
    CHECK(ufr_survive_truncation() == UFR_OK);
    return 0;
}
