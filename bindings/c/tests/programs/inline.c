// The inline header does what the calls do: each step is taken on two rings, on one by calls and on
// the other inline, and both must say the same.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <ultrafastring_inline.h>
#include <ultrafastring_more.h>

#include "check.h"

#if (defined(__x86_64__) || defined(__aarch64__)) && !UFR_HAS_INLINE
#error "on these processors messages are sent and received without a call"
#endif

#define LARGEST 60
#define ROOM 64

struct pair {
    ufr_ring *ring;
    ufr_producer *producer;
    ufr_consumer *consumer;
};

static ufr_settings exclusive(int32_t timestamps, size_t capacity) {
    ufr_settings settings;
    CHECK(ufr_settings_init(&settings) == UFR_OK);
    settings.producer_side = settings.consumer_side = UFR_SIDE_EXCLUSIVE;
    settings.timestamps = timestamps;
    settings.capacity = capacity;
    settings.max_message = LARGEST;
    return settings;
}

static struct pair pair_of(const ufr_settings *settings) {
    struct pair made;
    CHECK(ufr_ring_heap(settings, &made.ring) == UFR_OK);
    CHECK(ufr_producer_new(made.ring, &made.producer) == UFR_OK);
    CHECK(ufr_consumer_new(made.ring, &made.consumer) == UFR_OK);
    return made;
}

static void free_pair(struct pair *made) {
    ufr_producer_free(made->producer);
    ufr_consumer_free(made->consumer);
    ufr_ring_free(made->ring);
}

// How many positions are lent to inline code now.
static uint64_t lent_to_send(const struct pair *made) {
    const ufr_send_stretch *const stretch = (const ufr_send_stretch *)(const void *)made->producer;
    return stretch->end > stretch->position ? stretch->end - stretch->position : 0;
}

static uint64_t lent_to_recv(const struct pair *made) {
    const ufr_recv_stretch *const stretch = (const ufr_recv_stretch *)(const void *)made->consumer;
    return stretch->end > stretch->position ? stretch->end - stretch->position : 0;
}

static uint64_t random_below(uint64_t below) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

// The steps of both rings, and how many of them took no call.
struct both {
    struct pair call, here;
    uint64_t sent, received;
    unsigned char data[ROOM];
    size_t size;
    int32_t priority_class;
};

static int send_to_both(struct both *it) {
    const uint64_t before = lent_to_send(&it->here);
    int32_t expected, code;
    it->data[random_below(ROOM)] = (unsigned char)random_below(256);
    expected = ufr_try_send(it->call.producer, it->data, it->size, it->priority_class);
    code = ufr_inline_try_send(it->here.producer, it->data, it->size, it->priority_class);
    CHECK(code == expected);
    it->sent += before != 0 && lent_to_send(&it->here) == before - 1;
    return code == UFR_OK;
}

static int receive_from_both(struct both *it) {
    // Beyond the message nothing is written.
    unsigned char one[ROOM], other[ROOM];
    ufr_received about, about_it;
    const uint64_t before = lent_to_recv(&it->here);
    const size_t capacity = random_below(16) != 0 ? ROOM : (size_t)random_below(ROOM);
    ptrdiff_t expected, size;
    memset(one, 0xee, sizeof one);
    memset(other, 0xee, sizeof other);
    memset(&about, 0xee, sizeof about);
    memset(&about_it, 0xee, sizeof about_it);
    expected = ufr_try_recv(it->call.consumer, one, capacity, &about);
    size = ufr_inline_try_recv(it->here.consumer, other, capacity, &about_it);
    CHECK(size == expected && memcmp(one, other, sizeof one) == 0);
    CHECK(about.size == about_it.size && about.position == about_it.position);
    CHECK(about.priority_class == about_it.priority_class);
    CHECK(about.redelivered == about_it.redelivered && about.late == about_it.late);
    CHECK((about.timestamp != 0) == (about_it.timestamp != 0));
    CHECK(size < 0 || about_it.timestamp != 0 || about_it.latency == 0);
    it->received += before != 0 && lent_to_recv(&it->here) == before - 1;
    return size >= 0;
}

// Something else with the same handles, which finds what was done inline.
static void something_else(struct both *it) {
    struct pair *const pairs[2] = {&it->call, &it->here};
    ptrdiff_t lengths[2];
    int32_t codes[2];
    const uint64_t what = random_below(5);
    int at;
    for (at = 0; at < 2; at++) {
        const struct pair *const one = pairs[at];
        void *place;
        ufr_message message;
        const ufr_bytes bytes = {it->data, it->size};
        size_t count = 0;
        codes[at] = UFR_OK;
        if (what == 0) {
            codes[at] = ufr_try_send(one->producer, it->data, it->size, it->priority_class);
        } else if (what == 1) {
            codes[at] = ufr_try_reserve(one->producer, it->size, it->priority_class, &place);
            if (codes[at] == UFR_OK) {
                CHECK(ufr_inline_try_send(one->producer, "x", 1, 0) == UFR_ERR_IN_USE);
                memcpy(place, it->data, it->size);
                CHECK(ufr_commit(one->producer, it->size) == UFR_OK);
            }
        } else if (what == 2) {
            codes[at] = (int32_t)ufr_try_borrow(one->consumer, &message, 1);
            if (codes[at] == 1) {
                char byte;
                CHECK(ufr_inline_try_recv(one->consumer, &byte, 1, NULL) == UFR_ERR_IN_USE);
                CHECK(ufr_release(one->consumer, 1) == UFR_OK);
            }
        } else if (what == 3) {
            codes[at] = ufr_try_send_many(one->producer, &bytes, 1, it->priority_class, &count);
        } else {
            CHECK(ufr_producer_flush(one->producer) == UFR_OK);
            CHECK(ufr_consumer_flush(one->consumer) == UFR_OK);
        }
        lengths[at] = ufr_ring_len(one->ring);
    }
    CHECK(codes[0] == codes[1] && lengths[0] == lengths[1]);
}

static void both_have_counted_the_same(struct both *it) {
    struct pair *const pairs[2] = {&it->call, &it->here};
    ufr_stats stats[2];
    int at, class_of;
    for (at = 0; at < 2; at++) {
        CHECK(ufr_producer_flush(pairs[at]->producer) == UFR_OK);
        CHECK(ufr_consumer_flush(pairs[at]->consumer) == UFR_OK);
        CHECK(ufr_ring_stats(pairs[at]->ring, &stats[at]) == UFR_OK);
    }
    CHECK(stats[0].sent == stats[1].sent && stats[0].received == stats[1].received);
    for (class_of = 0; class_of < 5; class_of++) {
        const ufr_class_stats *const one = &stats[0].classes[class_of];
        const ufr_class_stats *const other = &stats[1].classes[class_of];
        CHECK(one->sent == other->sent && one->sent_bytes == other->sent_bytes);
        CHECK(one->received == other->received && one->received_bytes == other->received_bytes);
        CHECK(one->latency_count == other->latency_count);
        CHECK((other->latency_count != 0) == (other->latency_sum != 0));
        CHECK(other->latency_max <= other->latency_sum);
    }
}

// In a ring with lanes a consumer takes them in an order other than the usual: in time order, or
// ageing.
static void choose_an_order(const struct pair *made, int32_t lanes) {
    CHECK(lanes < 0 ? ufr_consumer_ageing(made->consumer, 3) == UFR_OK
                    : ufr_consumer_in_time_order(made->consumer, 0) == UFR_OK);
}

static void steps_have_the_same_results(const ufr_settings *settings, int in_another_order) {
    struct both it;
    int step;
    memset(&it, 0, sizeof it);
    it.call = pair_of(settings);
    it.here = pair_of(settings);
    if (in_another_order) {
        choose_an_order(&it.call, settings->lanes);
        choose_an_order(&it.here, settings->lanes);
    }
    for (step = 0; step < 60000; step++) {
        // Like messages come one after the other, of any size and class.
        if (random_below(40) == 0) {
            it.size = (size_t)(random_below(4) != 0 ? random_below(41) : random_below(LARGEST + 2));
            it.priority_class = (int32_t)random_below(5);
        }
        if (random_below(60) == 0) {
            something_else(&it);
        } else if (random_below(100) == 0) {
            while (send_to_both(&it)) { // until it is full
            }
        } else if (random_below(100) == 0) {
            while (receive_from_both(&it)) { // until it is empty, or one does not fit
            }
        } else {
            send_to_both(&it);
            receive_from_both(&it);
        }
    }
    both_have_counted_the_same(&it);
    // Slow programs, as under valgrind, take a call for each.
    printf("timestamps %d, capacity %zu, lanes %d: %llu sent and %llu received without a call\n",
           settings->timestamps, settings->capacity, settings->lanes, (unsigned long long)it.sent,
           (unsigned long long)it.received);
    // A consumer of several lanes looks at all of them, which takes a call.
    CHECK(settings->lanes == UFR_LANES_UNSET || it.received == 0);
    free_pair(&it.call);
    free_pair(&it.here);
}

// Sends and receives like messages until positions are lent for more.
static void lend(const struct pair *made, const void *data, size_t size, int32_t priority_class) {
    char buffer[ROOM];
    int tries = 0;
    do {
        CHECK(ufr_inline_send(made->producer, data, size, priority_class) == UFR_OK);
        CHECK(ufr_inline_recv(made->consumer, buffer, sizeof buffer, NULL) == (ptrdiff_t)size);
        CHECK(++tries < 100000);
    } while (lent_to_send(made) < 2 || lent_to_recv(made) < 2);
}

static void what_cannot_be_sent_or_received_is_refused_while_positions_are_lent(void) {
    const ufr_settings settings = exclusive(UFR_TIMESTAMPS_OFF, 64);
    struct pair made = pair_of(&settings);
    char buffer[ROOM];
    ufr_received about;
    lend(&made, "8 bytes.", 8, UFR_CLASS_NORMAL);
    CHECK(ufr_inline_send(made.producer, "8 bytes.", 8, 0x80002) == UFR_ERR_INVALID_ARGUMENT);
    lend(&made, "8 bytes.", 8, UFR_CLASS_NORMAL);
    CHECK(ufr_inline_send(made.producer, "", 0, 0x80002) == UFR_ERR_INVALID_ARGUMENT);
    CHECK(ufr_inline_send(made.producer, buffer, LARGEST + 1, 2) == UFR_ERR_TOO_LARGE);
    lend(&made, "8 bytes.", 8, UFR_CLASS_NORMAL);
    CHECK(ufr_inline_send(made.producer, NULL, 8, UFR_CLASS_NORMAL) == UFR_ERR_NULL);
    CHECK(ufr_inline_send(NULL, "8 bytes.", 8, UFR_CLASS_NORMAL) == UFR_ERR_NULL);
    CHECK(ufr_inline_recv(NULL, buffer, 8, NULL) == UFR_ERR_NULL);
    CHECK(ufr_inline_send(made.producer, "8 bytes.", 8, UFR_CLASS_NORMAL) == UFR_OK);
    CHECK(ufr_inline_recv(made.consumer, NULL, 8, NULL) == UFR_ERR_NULL);
    CHECK(ufr_inline_recv(made.consumer, buffer, 7, &about) == UFR_ERR_BUFFER_TOO_SMALL);
    CHECK(about.size == 8);
    CHECK(ufr_inline_try_recv(made.consumer, buffer, 8, &about) == 8);
    CHECK(ufr_inline_try_recv(made.consumer, buffer, 8, &about) == UFR_ERR_EMPTY);
    free_pair(&made);
}

static void nothing_more_is_sent_once_the_ring_is_closed(void) {
    const ufr_settings settings = exclusive(UFR_TIMESTAMPS_EVERY, 64);
    struct pair made = pair_of(&settings);
    char buffer[ROOM];
    int sent = 0;
    int32_t code;
    lend(&made, "8 bytes.", 8, UFR_CLASS_NORMAL);
    CHECK(ufr_close(made.ring) == UFR_OK);
    // A message that is under way goes out: the next send is refused.
    while ((code = ufr_inline_send(made.producer, "8 bytes.", 8, UFR_CLASS_NORMAL)) == UFR_OK) {
        CHECK(++sent <= 1);
    }
    CHECK(code == UFR_ERR_CLOSED);
    while (sent-- > 0) {
        CHECK(ufr_inline_recv(made.consumer, buffer, 8, NULL) == 8);
    }
    CHECK(ufr_inline_recv(made.consumer, buffer, 8, NULL) == UFR_ERR_CLOSED);
    free_pair(&made);
}

static void what_was_done_inline_counts_when_the_handles_are_freed(void) {
    const ufr_settings settings = exclusive(UFR_TIMESTAMPS_OFF, 64);
    struct pair made = pair_of(&settings);
    char buffer[ROOM];
    ufr_stats stats;
    uint64_t received;
    lend(&made, "8 bytes.", 8, UFR_CLASS_LOW);
    CHECK(ufr_inline_send(made.producer, "8 bytes.", 8, UFR_CLASS_LOW) == UFR_OK);
    CHECK(ufr_inline_recv(made.consumer, buffer, 8, NULL) == 8);
    CHECK(ufr_inline_send(made.producer, "8 bytes.", 8, UFR_CLASS_LOW) == UFR_OK);
    ufr_producer_free(made.producer);
    ufr_consumer_free(made.consumer);
    CHECK(ufr_ring_stats(made.ring, &stats) == UFR_OK);
    received = stats.classes[UFR_CLASS_LOW].received;
    CHECK(stats.classes[UFR_CLASS_LOW].sent == received + 1 && stats.sent == received + 1);
    CHECK(stats.received == received && ufr_ring_len(made.ring) == 1);
    // Who comes next goes on there.
    CHECK(ufr_producer_new(made.ring, &made.producer) == UFR_OK);
    CHECK(ufr_consumer_new(made.ring, &made.consumer) == UFR_OK);
    CHECK(ufr_inline_send(made.producer, "the next", 8, UFR_CLASS_LOW) == UFR_OK);
    CHECK(ufr_inline_recv(made.consumer, buffer, 8, NULL) == 8 && memcmp(buffer, "8 by", 4) == 0);
    CHECK(ufr_inline_recv(made.consumer, buffer, 8, NULL) == 8 && memcmp(buffer, "the n", 5) == 0);
    free_pair(&made);
}

static void rings_that_lend_nothing_work_too(void) {
    ufr_settings settings;
    struct pair made;
    char buffer[ROOM];
    int at;
    CHECK(ufr_settings_init(&settings) == UFR_OK);
    made = pair_of(&settings); // shared sides
    for (at = 0; at < 10000; at++) {
        CHECK(ufr_inline_send(made.producer, "8 bytes.", 8, UFR_CLASS_LOW) == UFR_OK);
        CHECK(ufr_inline_recv(made.consumer, buffer, 8, NULL) == 8);
        CHECK(lent_to_send(&made) == 0 && lent_to_recv(&made) == 0);
    }
    free_pair(&made);
}

enum { MESSAGES = 200000 };

static void *sends(void *producer) {
    uint64_t number;
    for (number = 0; number < MESSAGES; number++) {
        CHECK(ufr_inline_send((ufr_producer *)producer, &number, sizeof number, 1) == UFR_OK);
        if (number % 20000 == 0) {
            // So that the consumer sleeps, and has to be woken by a message that is sent inline.
            const struct timespec pause = {0, 20000000};
            nanosleep(&pause, NULL);
        }
    }
    return NULL;
}

static void a_consumer_that_sleeps_is_woken(int32_t lanes) {
    ufr_settings settings = exclusive(UFR_TIMESTAMPS_OFF, 256);
    struct pair made;
    pthread_t thread;
    uint64_t number, got = 0;
    settings.lanes = lanes;
    made = pair_of(&settings);
    CHECK(pthread_create(&thread, NULL, sends, made.producer) == 0);
    for (number = 0; number < MESSAGES; number++) {
        CHECK(ufr_inline_recv(made.consumer, &got, sizeof got, NULL) == sizeof got);
        CHECK(got == number);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    free_pair(&made);
}

static void steps_in_rings_of_one_lane(int32_t timestamps) {
    const size_t capacities[4] = {256, 64, 8, 1};
    int at;
    for (at = 0; at < 4; at++) {
        ufr_settings settings = exclusive(timestamps, capacities[at]);
        if (at == 1 || at == 2) {
            settings.reserves[0] = settings.reserves[1] = capacities[at] / 4;
        }
        steps_have_the_same_results(&settings, 0);
    }
}

static void steps_in_rings_with_lanes(int32_t timestamps) {
    const int32_t lanes[3] = {UFR_LANES_BY_CLASS, 1, 3};
    int at, order;
    for (at = 0; at < 3; at++) {
        for (order = 0; order < 2; order++) {
            ufr_settings settings = exclusive(timestamps, 16);
            settings.lanes = lanes[at];
            if (order == 0 || settings.lanes < 0 || timestamps == UFR_TIMESTAMPS_EVERY) {
                steps_have_the_same_results(&settings, order);
            }
            settings.consumer_side = UFR_SIDE_SHARED;
            steps_have_the_same_results(&settings, 0);
        }
    }
}

int main(void) {
    const int32_t timestamps[3] = {UFR_TIMESTAMPS_OFF, UFR_TIMESTAMPS_EVERY, 4};
    int at;
    for (at = 0; at < 3; at++) {
        steps_in_rings_of_one_lane(timestamps[at]);
        steps_in_rings_with_lanes(timestamps[at]);
    }
    what_cannot_be_sent_or_received_is_refused_while_positions_are_lent();
    nothing_more_is_sent_once_the_ring_is_closed();
    what_was_done_inline_counts_when_the_handles_are_freed();
    rings_that_lend_nothing_work_too();
    a_consumer_that_sleeps_is_woken(UFR_LANES_UNSET);
    a_consumer_that_sleeps_is_woken(UFR_LANES_BY_CLASS);
    a_consumer_that_sleeps_is_woken(2);
    return 0;
}
