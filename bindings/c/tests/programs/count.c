// Sends and receives COUNT messages of 40 bytes, 64 at a time, in one thread: `count COUNT`. Valgrind counts
// its instructions; without timestamps, since valgrind stretches time.

#include <stdlib.h>
#include <string.h>
#include <ultrafastring_more.h>

#include "check.h"

int main(int argc, char **argv) {
    char message[40] = "forty bytes", buffer[40];
    ufr_settings settings;
    ufr_ring *ring;
    ufr_producer *producer;
    ufr_consumer *consumer;
    CHECK(argc == 2 && ufr_settings_init(&settings) == UFR_OK);
    settings.producer_side = settings.consumer_side = UFR_SIDE_EXCLUSIVE;
    settings.timestamps = UFR_TIMESTAMPS_OFF;
    CHECK(ufr_ring_heap(&settings, &ring) == UFR_OK);
    CHECK(ufr_producer_new(ring, &producer) == UFR_OK && ufr_consumer_new(ring, &consumer) == UFR_OK);
    for (long left = atol(argv[1]); left > 0; left -= 64) {
        for (int at = 0; at < 64; at++) {
            CHECK(ufr_try_send(producer, message, sizeof message, UFR_CLASS_NORMAL) == UFR_OK);
        }
        for (int at = 0; at < 64; at++) {
            CHECK(ufr_try_recv(consumer, buffer, sizeof buffer, NULL) == sizeof buffer);
        }
    }
    ufr_producer_free(producer);
    ufr_consumer_free(consumer);
    ufr_ring_free(ring);
    return 0;
}
