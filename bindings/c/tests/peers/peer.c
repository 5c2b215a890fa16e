// A process of the acceptance test, in C: `peer WHAT DIRECTORY NAME COUNT KIND` sends or receives COUNT
// checked messages; `peer WHAT DIRECTORY NAME LOG` works until the log says to stop, or it is killed.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ultrafastring_more.h>

#include "exchange.h"

// A wait after which a worker looks whether it is to stop.
#define SOON 20000000

static void die(const char *what, int code) {
    fprintf(stderr, "peer.c: %s: %s (%s)\n", what, ufr_strerror(code), ufr_last_error());
    exit(1);
}

static void check(const char *what, int code) {
    if (code != UFR_OK) {
        die(what, code);
    }
}

static void send_all(ufr_producer *producer, uint64_t count, int large) {
    static unsigned char message[LARGEST];
    // A receiver that finds something wrong ends.
    check("end_when_deserted", ufr_producer_end_when_deserted(producer, 1));
    for (uint64_t number = 0; number < count; number++) {
        const size_t size = exchange_fill(message, number, large);
        check("send", ufr_send(producer, message, size, exchange_class(number)));
    }
    check("close", ufr_producer_close(producer));
}

static void receive_all(ufr_consumer *consumer, uint64_t count, int large) {
    static unsigned char message[LARGEST];
    uint64_t number = 0;
    for (;; number++) {
        ufr_received about;
        const ptrdiff_t size = ufr_recv(consumer, message, sizeof message, &about);
        if (size == UFR_ERR_CLOSED) {
            break;
        }
        if (size < 0) {
            die("recv", (int)size);
        }
        if (!exchange_is(message, (size_t)size, number, large) || about.size != (size_t)size ||
            about.priority_class != exchange_class(number) || about.position != number) {
            fprintf(stderr, "peer.c: message %llu is another one\n", (unsigned long long)number);
            exit(1);
        }
    }
    if (number != count) {
        fprintf(stderr, "peer.c: %llu messages came\n", (unsigned long long)number);
        exit(1);
    }
}

static struct exchange_log *map_log(const char *path) {
    const int file = open(path, O_RDWR);
    void *const memory = file < 0 ? MAP_FAILED
                                  : mmap(NULL, sizeof(struct exchange_log), PROT_READ | PROT_WRITE,
                                         MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    return memory;
}

// Whether a call that sends went well; what it waits for too long is no failure.
static int went(const char *what, int code) {
    if (code != UFR_OK && code != UFR_ERR_TIMED_OUT) {
        die(what, code);
    }
    return code == UFR_OK;
}

static void produce(ufr_producer *producer, struct exchange_log *log) {
    static unsigned char bytes[3][LARGEST];
    while (exchange_goes_on(log)) {
        const uint64_t way = exchange_way(__atomic_load_n(&log->next, __ATOMIC_SEQ_CST));
        const uint64_t count = way == 2 ? 3 : 1;
        const uint64_t first = exchange_next(log, count);
        const int32_t class_of = exchange_class(first);
        ufr_bytes messages[3];
        size_t done = 0;
        if (first + count > MOST) {
            return;
        }
        for (uint64_t at = 0; at < count; at++) {
            messages[at].data = bytes[at];
            messages[at].size =
                exchange_fill(bytes[at], first + at, exchange_is_large(log, first + at));
        }
        while (done < count && !exchange_stopped(log)) {
            size_t sent = 0;
            if (way == 1) {
                void *place;
                if (went("reserve", ufr_reserve_timeout(producer, messages[0].size, class_of, &place, SOON))) {
                    memcpy(place, messages[0].data, messages[0].size);
                    check("commit", ufr_commit(producer, messages[0].size));
                    sent = 1;
                }
            } else if (way == 0) {
                sent = (size_t)went("send", ufr_send_timeout(producer, messages[0].data,
                                                             messages[0].size, class_of, SOON));
            } else {
                went("send_many", ufr_send_many_timeout(producer, messages + done, count - done,
                                                        class_of, SOON, &sent));
            }
            for (size_t at = 0; at < sent; at++) {
                exchange_sent(log, first + done + at);
            }
            done += sent;
        }
    }
}

static void consume(ufr_consumer *consumer, struct exchange_log *log) {
    ufr_message messages[4];
    while (!exchange_stopped(log)) {
        const ptrdiff_t count = ufr_borrow_timeout(consumer, messages, 4, SOON);
        if (count == UFR_ERR_TIMED_OUT) {
            continue;
        }
        if (count < 0) {
            die("borrow", (int)count);
        }
        for (ptrdiff_t at = 0; at < count; at++) {
            if (!exchange_received(log, messages[at].data, messages[at].about.size,
                                   messages[at].about.redelivered)) {
                fprintf(stderr, "peer.c: a message is not one that was sent\n");
                exit(1);
            }
            check("release", ufr_release(consumer, 1));
        }
    }
}

// As `consume`, and loses a message if it is killed while it has that one.
static void consume_copies(ufr_consumer *consumer, struct exchange_log *log) {
    static unsigned char message[LARGEST];
    while (!exchange_stopped(log)) {
        ufr_received about;
        const ptrdiff_t size = ufr_recv_timeout(consumer, message, sizeof message, &about, SOON);
        if (size == UFR_ERR_TIMED_OUT) {
            continue;
        }
        if (size < 0) {
            die("recv", (int)size);
        }
        if (!exchange_received(log, message, (size_t)size, about.redelivered)) {
            fprintf(stderr, "peer.c: a message is not one that was sent\n");
            exit(1);
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 5) {
        return 2;
    }
    const char *const what = argv[1];
    ufr_settings settings;
    ufr_ring *ring;
    ufr_producer *producer = NULL;
    ufr_consumer *consumer = NULL;
    check("settings", ufr_settings_init(&settings));
    settings.directory = argv[2];
    check("open", ufr_ring_open_with(argv[3], &settings, &ring));
    if (strcmp(what, "send") == 0 || strcmp(what, "produce") == 0) {
        check("producer", ufr_producer_new(ring, &producer));
    } else {
        check("consumer", ufr_consumer_new(ring, &consumer));
    }
    ufr_ring_free(ring);
    if (argc == 6) {
        const uint64_t count = strtoull(argv[4], NULL, 10);
        const int large = strcmp(argv[5], "large") == 0;
        if (producer != NULL) {
            send_all(producer, count, large);
        } else {
            receive_all(consumer, count, large);
        }
    } else if (producer != NULL) {
        produce(producer, map_log(argv[4]));
    } else if (strcmp(what, "copy") == 0) {
        consume_copies(consumer, map_log(argv[4]));
    } else {
        consume(consumer, map_log(argv[4]));
    }
    ufr_producer_free(producer);
    ufr_consumer_free(consumer);
    return 0;
}
