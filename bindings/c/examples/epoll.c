// Receives from a ring, and reads standard input, in one thread: an event loop.
//
//     cc epoll.c $(pkg-config --cflags --libs ultrafastring) -o epoll
#include <stdio.h>
#include <sys/epoll.h>
#include <ultrafastring_more.h>
#include <unistd.h>

// Takes all that is there; then has the descriptor tell of what comes. 0, or why there is no more.
static int drain(ufr_consumer *consumer) {
    char quote[40];
    for (;;) {
        ptrdiff_t size;
        while ((size = ufr_try_recv(consumer, quote, sizeof quote, NULL)) >= 0) {
            printf("ring: %.*s\n", (int)size, quote);
        }
        if (size != UFR_ERR_EMPTY) {
            return (int)size;
        }
        const int armed = ufr_consumer_arm(consumer); // 1: something came meanwhile
        if (armed <= 0) {
            return armed;
        }
    }
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "quotes";
    ufr_ring *ring;
    ufr_consumer *consumer;
    if (ufr_ring_open_or_create(name, NULL, &ring) || ufr_consumer_new(ring, &consumer)) {
        return fprintf(stderr, "epoll: %s\n", ufr_last_error()), 1;
    }
    const int loop = epoll_create1(EPOLL_CLOEXEC), quotes = ufr_consumer_fd(consumer);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = quotes};
    if (loop < 0 || quotes < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, quotes, &event)) {
        return fprintf(stderr, "epoll: %s\n", ufr_last_error()), 1;
    }
    event.data.fd = STDIN_FILENO;
    epoll_ctl(loop, EPOLL_CTL_ADD, STDIN_FILENO, &event); // a file is always readable, and refused
    int why;
    while ((why = drain(consumer)) == 0 && epoll_wait(loop, &event, 1, -1) >= 0) {
        char line[256];
        if (event.data.fd != STDIN_FILENO) {
            continue;
        }
        const ssize_t size = read(STDIN_FILENO, line, sizeof line);
        if (size <= 0) {
            epoll_ctl(loop, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        } else {
            printf("input: %.*s", (int)size, line);
        }
    }
    close(loop);
    ufr_consumer_free(consumer); // closes its descriptor
    ufr_ring_free(ring);
    return why == UFR_ERR_CLOSED ? 0 : (fprintf(stderr, "epoll: %s\n", ufr_last_error()), 1);
}
