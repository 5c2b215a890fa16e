// Receives what sender.c sends. Either may be started first.
//
//     cc receiver.c $(pkg-config --cflags --libs ultrafastring) -o receiver
#include <stdio.h>
#include <ultrafastring_more.h>

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "quotes";
    ufr_ring *ring;
    ufr_consumer *consumer;
    if (ufr_ring_open_or_create(name, NULL, &ring) || ufr_consumer_new(ring, &consumer)) {
        return fprintf(stderr, "receiver: %s\n", ufr_last_error()), 1;
    }
    ufr_consumer_end_when_deserted(consumer, 1); // also if the sender is killed
    char quote[40];
    ptrdiff_t size;
    while ((size = ufr_recv(consumer, quote, sizeof quote, NULL)) >= 0) { // waits for each
        printf("%.*s\n", (int)size, quote);
    }
    if (size != UFR_ERR_CLOSED) {
        fprintf(stderr, "receiver: %s\n", ufr_last_error());
    }
    ufr_consumer_free(consumer);
    ufr_ring_free(ring);
    return ufr_ring_remove(name) == UFR_OK && size == UFR_ERR_CLOSED ? 0 : 1;
}
