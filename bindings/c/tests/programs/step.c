// A process that is killed after an instruction of the inline header: `step WHAT DIRECTORY NAME`. It
// stops before and after the part that counts, in which it sends, or receives, two messages. The
// ring has `LEFT` messages before that, with the numbers from 0 on.

#include <stdint.h>
#include <string.h>

#include <ultrafastring_inline.h>
#include <ultrafastring_more.h>

#include "check.h"

#define LEFT 4

// The tracer sees a breakpoint.
#define STOP() __asm__ __volatile__("int3" ::: "memory")

int main(int argc, char **argv) {
    ufr_settings settings;
    ufr_ring *ring;
    ufr_producer *producer;
    ufr_consumer *consumer;
    uint64_t words[5] = {0, 1, 2, 3, 4}, got[5];
    const ufr_send_stretch *to_send;
    const ufr_recv_stretch *to_recv;
    int at;
    CHECK(argc == 4 && ufr_settings_init(&settings) == UFR_OK);
    settings.directory = argv[2];
    CHECK(ufr_ring_open_with(argv[3], &settings, &ring) == UFR_OK);
    CHECK(ufr_producer_new(ring, &producer) == UFR_OK && ufr_consumer_new(ring, &consumer) == UFR_OK);
    to_send = (const ufr_send_stretch *)(const void *)producer;
    to_recv = (const ufr_recv_stretch *)(const void *)consumer;
    // Until more is lent than is sent and received below; where a machine is slow for a moment, again.
    do {
        words[0] = UINT64_MAX;
        do {
            CHECK(ufr_inline_send(producer, words, sizeof words, UFR_CLASS_NORMAL) == UFR_OK);
            CHECK(ufr_inline_recv(consumer, got, sizeof got, NULL) == sizeof got);
        } while (got[0] != UINT64_MAX || to_send->end < to_send->position + LEFT + 3 ||
                 to_recv->end < to_recv->position + 3);
        for (at = 0; at < LEFT; at++) {
            words[0] = (uint64_t)at;
            CHECK(ufr_inline_send(producer, words, sizeof words, UFR_CLASS_NORMAL) == UFR_OK);
        }
        for (at = 0; at < LEFT && to_send->end < to_send->position + 2; at++) {
            CHECK(ufr_inline_recv(consumer, got, sizeof got, NULL) == sizeof got);
        }
    } while (at != 0);
    if (strcmp(argv[1], "send") == 0) {
        words[0] = LEFT;
        STOP();
        at = ufr_inline_send(producer, words, sizeof words, UFR_CLASS_NORMAL);
        words[0] = LEFT + 1;
        at |= ufr_inline_send(producer, words, sizeof words, UFR_CLASS_NORMAL);
        STOP();
        CHECK(at == UFR_OK);
    } else {
        STOP();
        at = ufr_inline_recv(consumer, got, sizeof got, NULL) == sizeof got && got[0] == 0;
        at += ufr_inline_recv(consumer, got, sizeof got, NULL) == sizeof got && got[0] == 1;
        STOP();
        CHECK(at == 2);
    }
    ufr_producer_free(producer);
    ufr_consumer_free(consumer);
    ufr_ring_free(ring);
    return 0;
}
