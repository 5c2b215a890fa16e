// Sends ten prices to the ring "quotes"; receiver.c receives them.
//
//     cc sender.c $(pkg-config --cflags --libs ultrafastring) -o sender
#include <stdio.h>
#include <string.h>
#include <ultrafastring_more.h>

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "quotes";
    ufr_ring *ring;
    ufr_producer *producer;
    if (ufr_ring_open_or_create(name, NULL, &ring) || ufr_producer_new(ring, &producer)) {
        return fprintf(stderr, "sender: %s\n", ufr_last_error()), 1;
    }
    for (int price = 100; price < 110; price++) {
        char quote[40];
        snprintf(quote, sizeof quote, "AAPL %d", price);
        if (ufr_send(producer, quote, strlen(quote), UFR_CLASS_NORMAL)) { // waits for room
            return fprintf(stderr, "sender: %s\n", ufr_last_error()), 1;
        }
    }
    ufr_producer_close(producer); // the end of the stream
    ufr_producer_free(producer);
    ufr_ring_free(ring);
    return 0;
}
