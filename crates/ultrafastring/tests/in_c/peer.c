// A producer and a consumer of a plain ring, written from docs/layout.md and from nothing else.
//
//     peer send DIRECTORY NAME COUNT    sends so many messages, of all sizes that the ring takes
//     peer recv DIRECTORY NAME COUNT    receives so many, checks them, prints their number and sum
//
// Message n begins with n as eight bytes; all others are the last byte of n.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef _Atomic uint64_t word;
typedef _Atomic uint32_t half;

enum { PRODUCER, CONSUMER };
enum { ASLEEP = 1, CLOSED_BELL = 2, FENCES = 4 };
enum { LANES, CONTROL, GROUPS, CURSORS, PARTICIPANTS, HOLDS, SLOTS, SIDES, HISTOGRAMS, CALLS };
#define TOP (1ull << 63) // CLOSED in producer_head, ABANDONED in a sequence
#define LARGE (1ull << 8)
#define NORMAL 2

#define load(word, order) atomic_load_explicit(word, memory_order_##order)
#define store(word, value, order) atomic_store_explicit(word, value, memory_order_##order)

static uint64_t header[64], terms[16]; // as they were when the ring was opened
static unsigned char *base;
static int locks;      // a description of the lock file for the one handle
static uint64_t entry; // the handle's
static uint64_t mine;  // the position, on an exclusive side
static uint64_t limit; // credits for the class that is sent

static void stop(const char *why) {
    fprintf(stderr, "%s (%s)\n", why, strerror(errno));
    exit(1);
}

static uint64_t area(int which, int what) { return header[32 + 3 * which + what]; }
static uint64_t capacity(void) { return header[8]; }
static uint64_t side_size(void) { return header[10]; }
static int is_exclusive(int side) { return header[11] >> side & 1; }

static word *at(uint64_t offset) { return (word *)(base + offset); }
static word *producer_head(void) { return at(area(LANES, 0)); }
static word *producer_tail(void) { return at(area(LANES, 0) + 128); }
static word *consumer_head(void) { return at(area(CURSORS, 0)); }
static word *consumer_tail(void) { return at(area(CURSORS, 0) + 128); }
static word *control(int byte) { return at(area(CONTROL, 0) + byte); }
static word *in_entry(uint64_t n, int byte) { return at(area(PARTICIPANTS, 0) + 1024 * n + byte); }
static word *intent(void) { return in_entry(entry, 128); }
static word *in_slot(uint64_t p, int word) {
    return at(area(SLOTS, 0) + 64 * (p & (capacity() - 1)) + 8 * word);
}
static unsigned char *side_buffer(uint64_t number) {
    return base + area(SIDES, 0) + area(SIDES, 1) * (number & (capacity() - 1));
}
// Whether slots name the side buffers of their messages.
static int names_buffers(void) { return header[3] & 2 ? 1 : 0; }
static half *bell(int side) { return (half *)(base + area(CONTROL, 0) + 128 + 128 * side); }

// ---- locks, opening, entries -----------------------------------------------------------------

static int lock(int file, int kind, off_t start, off_t length) {
    struct flock lock = {
        .l_type = kind, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(file, F_OFD_SETLK, &lock);
}

static void check_areas(void) {
    uint64_t page = header[6], size = side_size();
    if (page < 4096 || page > 65536 || page & (page - 1)) stop("pages of no size");
    uint64_t unit = size >= page ? page : 64;
    uint64_t stride = (size + unit - 1) / unit * unit;
    struct {
        uint64_t stride, count, alignment;
    } expected[10] = {{512, 1, 128}, {512, 1, 128},           {512, 1, 128}, {256, 1, 128},
                      {1024, header[9], page}, {0},           {64, header[8], page},
                      {stride, size ? header[8] : 0, page}};
    for (int i = 0; i < 10; i++) {
        uint64_t offset = area(i, 0), count = expected[i].count;
        if (area(i, 2) != count) stop("an area of another size");
        if (count == 0) continue;
        uint64_t end = offset + expected[i].stride * count;
        if (area(i, 1) != expected[i].stride || offset % expected[i].alignment ||
            offset < 4096 || offset > header[2] || end > header[2])
            stop("an area elsewhere");
        for (int j = 0; j < i; j++)
            if (area(j, 2) && offset < area(j, 0) + area(j, 1) * area(j, 2) && area(j, 0) < end)
                stop("areas that overlap");
    }
}

static void open_ring(const char *directory, const char *name) {
    char path[4096], lock_path[4096];
    snprintf(path, sizeof path, "%s/ufr-%s", directory, name);
    int file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct stat status, again;
    if (file < 0 || fstat(file, &status) || !S_ISREG(status.st_mode)) stop("no ring");
    if (pread(file, header, sizeof header, 0) != sizeof header) stop("no header");
    if (memcmp(header, "UFRring", 8) || header[1] != 3 || header[3] & ~2ull ||
        names_buffers() != (side_size() != 0 && is_exclusive(PRODUCER)) ||
        header[2] != (uint64_t)status.st_size || header[8] == 0 || header[8] > 1 << 24 ||
        header[8] & (header[8] - 1) || header[9] == 0 || header[9] > 4096 ||
        header[10] > 1 << 30 || header[11] > 3)
        stop("no ring for this program");
    check_areas();
    if (pread(file, terms, sizeof terms, area(LANES, 0) + 384) != sizeof terms ||
        terms[0] != header[8] || terms[1] != area(SLOTS, 0) || terms[2] != area(SIDES, 0) ||
        terms[3] != header[10] || terms[4] != area(SIDES, 1) || terms[5] != header[14])
        stop("a lane of other terms");

    uint64_t words[4];
    snprintf(lock_path, sizeof lock_path, "%s/.ufr-%s.lock-%016llx", directory, name,
             (unsigned long long)header[4]);
    int opening = open(lock_path, O_RDWR | O_CLOEXEC);
    if (opening < 0 || pread(opening, words, sizeof words, 0) != sizeof words ||
        memcmp(words, "UFRlock", 8) || words[1] != 3 || words[2] != header[4] || words[3])
        stop("no lock file");
    if (lock(opening, F_RDLCK, 0, 1)) stop("it is being removed");
    if (lstat(path, &again) || again.st_ino != status.st_ino) stop("it was replaced");
    base = mmap(NULL, header[2], PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (base == MAP_FAILED) stop("not mapped");
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0))
        for (int side = 0; side < 2; side++) atomic_fetch_or(bell(side), FENCES);
    locks = open(lock_path, O_RDWR | O_CLOEXEC);
    if (locks < 0) stop("no lock file");
}

static void take_handle(int side) {
    if (is_exclusive(side) && lock(locks, F_WRLCK, 2 + side, 1)) stop("the side is taken");
    for (entry = 0;; entry++) {
        if (entry == header[9]) stop("the table is full");
        if (load(in_entry(entry, 0), acquire) != 0) continue;
        if (lock(locks, F_WRLCK, 4096 + 2 * entry, 2)) continue;
        if (load(in_entry(entry, 0), acquire) == 0) break;
        lock(locks, F_UNLCK, 4096 + 2 * entry, 2);
    }
    uint64_t used = load(control(0), relaxed);
    while (used < entry + 1 && !atomic_compare_exchange_weak(control(0), &used, entry + 1)) {
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    store(in_entry(entry, 16), getpid(), relaxed);
    store(in_entry(entry, 24), 0, relaxed);
    store(in_entry(entry, 32), 0, relaxed);
    store(in_entry(entry, 40), now.tv_sec * 1000000000ull + now.tv_nsec, relaxed);
    uint64_t name[8];
    strncpy((char *)name, "written in C", sizeof name);
    for (int i = 0; i < 8; i++) store(in_entry(entry, 64 + 8 * i), name[i], relaxed);
    store(in_entry(entry, 0), 1 | side << 1 | is_exclusive(side) << 2, release);
    lock(locks, F_UNLCK, 4096 + 2 * entry, 1);
    atomic_fetch_add_explicit(control(24 + 8 * side), 1, memory_order_release);
}

// ---- bells -----------------------------------------------------------------------------------

static void give_wake_up(int side, int sleepers) {
    half *wakes = bell(side) + 1;
    atomic_fetch_add_explicit(wakes, 1, memory_order_release);
    syscall(SYS_futex, wakes, FUTEX_WAKE, sleepers, NULL, NULL, 0);
}

static void ring_bell(int side) {
    atomic_signal_fence(memory_order_seq_cst);
    uint32_t state = load(bell(side), relaxed);
    if (state == 0) return;
    if (state & FENCES) {
        atomic_thread_fence(memory_order_seq_cst);
        state = load(bell(side), relaxed);
    }
    if (state & ASLEEP &&
        atomic_fetch_and_explicit(bell(side), ~ASLEEP, memory_order_acq_rel) & ASLEEP)
        give_wake_up(side, side == CONSUMER && !is_exclusive(CONSUMER) ? 1 : INT32_MAX);
}

static void wake_all(int side) {
    atomic_thread_fence(memory_order_seq_cst);
    atomic_fetch_and_explicit(bell(side), ~ASLEEP, memory_order_acq_rel);
    give_wake_up(side, INT32_MAX);
}

static void sleep_unless(int side, int (*ready)(void)) {
    uint32_t ticket = load(bell(side) + 1, acquire);
    atomic_fetch_or_explicit(bell(side), ASLEEP, memory_order_acq_rel);
    atomic_thread_fence(memory_order_seq_cst);
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0))
        for (int each = 0; each < 2; each++) atomic_fetch_or(bell(each), FENCES);
    if (ready()) return;
    struct timespec most = {0, 100000000};
    syscall(SYS_futex, bell(side) + 1, FUTEX_WAIT, ticket, &most, NULL, 0);
}

static void leave(int side) {
    store(intent(), 0, release);
    store(in_entry(entry, 192), 0, release);
    store(in_entry(entry, 0), 0, release);
    lock(locks, F_UNLCK, 0, 0);
    wake_all(1 - side);
}

// ---- the producer ----------------------------------------------------------------------------

static void grant(void);

static int is_closed(void) {
    return is_exclusive(PRODUCER) ? (load(bell(CONSUMER), acquire) & CLOSED_BELL) != 0
                                  : (load(producer_head(), acquire) & TOP) != 0;
}

static uint64_t next_to_send(void) {
    return is_exclusive(PRODUCER) ? mine : load(producer_head(), relaxed) & ~TOP;
}

static int has_room(void) {
    uint64_t released = load(consumer_tail(), acquire);
    return next_to_send() < released + limit || is_closed();
}

static void announce(void) {
    store(intent(), 0, release);
    if (!is_exclusive(PRODUCER)) return;
    store(producer_head(), mine, release);
    store(producer_tail(), mine, release);
}

static void begin_to_send(void) {
    // Of class normal: less what is kept for real time and high.
    uint64_t kept = header[15] + header[16];
    limit = kept < header[14] ? header[14] - kept : 1;
    if (!is_exclusive(PRODUCER)) {
        if (atomic_fetch_and(producer_head(), ~TOP) & TOP) atomic_fetch_add(control(40), 1);
        return;
    }
    if (atomic_fetch_and(bell(CONSUMER), ~CLOSED_BELL) & CLOSED_BELL)
        atomic_fetch_add(control(40), 1);
    uint64_t announced = load(producer_tail(), acquire), claimed = load(consumer_head(), acquire);
    mine = announced > claimed ? announced : claimed;
    uint64_t end = mine + capacity();
    while (mine < end && (load(in_slot(mine, 0), acquire) & ~TOP) == mine + 1) mine++;
}

// A side buffer that no live slot names, where slots name them.
static uint64_t free_buffer(uint64_t p) {
    if (!names_buffers()) return p;
    for (uint64_t number = 0;; number++) {
        uint64_t q = load(is_exclusive(CONSUMER) ? consumer_head() : consumer_tail(), acquire);
        while (q < p && !(load(in_slot(q, 0), acquire) == q + 1 &&
                          load(in_slot(q, 1), relaxed) & LARGE &&
                          (load(in_slot(q, 4), relaxed) & (capacity() - 1)) == number))
            q++;
        if (q == p) return number;
    }
}

static void commit(uint64_t p, const unsigned char *bytes, size_t size) {
    uint64_t payload[5] = {0}, meta = NORMAL | entry << 32;
    if (size <= 40) {
        memcpy(payload, bytes, size);
        meta |= (uint64_t)size << 16;
    } else {
        uint64_t number = free_buffer(p);
        memcpy(side_buffer(number), bytes, size);
        payload[0] = size;
        payload[1] = names_buffers() ? number : 0;
        meta |= LARGE;
    }
    for (int i = 0; i < 5; i++) store(in_slot(p, 3 + i), payload[i], relaxed);
    store(in_slot(p, 2), 0, relaxed);
    store(in_slot(p, 1), meta, relaxed);
    store(in_slot(p, 0), p + 1, release);
}

static void send_message(const unsigned char *bytes, size_t size) {
    for (;;) {
        uint64_t released = load(consumer_tail(), acquire), p = next_to_send();
        if (is_closed()) stop("the ring is closed");
        if (p >= released + limit) {
            if (is_exclusive(CONSUMER)) {
                released = load(consumer_head(), acquire);
            } else {
                grant();
                released = load(consumer_tail(), acquire);
            }
            p = next_to_send();
        }
        if (p >= released + limit) {
            announce();
            sleep_unless(PRODUCER, has_room);
            continue;
        }
        if (!is_exclusive(PRODUCER)) {
            store(intent(), (p + 1) << 6, release);
            if (!atomic_compare_exchange_strong_explicit(producer_head(), &p, p + 1,
                                                         memory_order_release,
                                                         memory_order_relaxed))
                continue;
        }
        commit(p, bytes, size);
        if (is_exclusive(PRODUCER) && ++mine % 64 == 0) announce();
        ring_bell(CONSUMER);
        return;
    }
}

// ---- the consumer ----------------------------------------------------------------------------

static void grant(void) {
    if (is_exclusive(CONSUMER)) {
        store(consumer_tail(), load(consumer_head(), relaxed), release);
        ring_bell(PRODUCER);
        return;
    }
    uint64_t least = load(consumer_head(), acquire), used = load(control(0), acquire);
    for (uint64_t i = 0; i < used && i < header[9]; i++) {
        uint64_t first = load(in_entry(i, 192), acquire) >> 6;
        if (first != 0 && first - 1 < least) least = first - 1;
    }
    uint64_t tail = load(consumer_tail(), relaxed);
    while (tail < least)
        if (atomic_compare_exchange_weak_explicit(consumer_tail(), &tail, least,
                                                  memory_order_acq_rel, memory_order_relaxed)) {
            ring_bell(PRODUCER);
            return;
        }
}

static uint64_t next_to_receive(void) {
    return is_exclusive(CONSUMER) ? mine : load(consumer_head(), acquire);
}

static int has_message(void) {
    uint64_t p = next_to_receive();
    return (load(in_slot(p, 0), acquire) & ~TOP) > p || is_closed();
}

// Its size, or -1 at the end.
static long receive(unsigned char *buffer) {
    uint64_t most = header[14] / 8 < 64 ? header[14] / 8 : 64;
    for (;;) {
        int closed = is_closed();
        uint64_t end = load(producer_head(), acquire) & ~TOP;
        uint64_t p = next_to_receive(), sequence = load(in_slot(p, 0), acquire);
        if ((sequence & ~TOP) > p + 1) continue; // others have gone on
        if ((sequence & ~TOP) < p + 1) {
            grant();
            if (closed && (is_exclusive(PRODUCER) || p >= end)) return -1;
            sleep_unless(CONSUMER, has_message);
            continue;
        }
        uint64_t payload[5], meta = load(in_slot(p, 1), relaxed), size = meta >> 16 & 0xffff;
        for (int i = 0; i < 5; i++) payload[i] = load(in_slot(p, 3 + i), relaxed);
        if (meta & LARGE) {
            size = payload[0] < side_size() ? payload[0] : side_size();
            memcpy(buffer, side_buffer(names_buffers() ? payload[1] : p), size);
        } else {
            size = size < 40 ? size : 40;
            memcpy(buffer, payload, size);
        }
        if (is_exclusive(CONSUMER)) {
            store(consumer_head(), ++mine, release);
        } else if (!atomic_compare_exchange_strong_explicit(consumer_head(), &p, p + 1,
                                                            memory_order_release,
                                                            memory_order_relaxed)) {
            continue;
        }
        if (most == 0 || p % most == 0) grant();
        if (!(sequence & TOP)) return size;
    }
}

// ---- both ------------------------------------------------------------------------------------

int main(int count, char **words) {
    if (count != 5) stop("peer send|recv DIRECTORY NAME COUNT");
    open_ring(words[2], words[3]);
    uint64_t messages = strtoull(words[4], NULL, 10), largest = side_size() ? side_size() : 40;
    unsigned char *buffer = malloc(largest);
    if (strcmp(words[1], "send") == 0) {
        take_handle(PRODUCER);
        begin_to_send();
        for (uint64_t n = 0; n < messages; n++) {
            size_t size = 8 + n % (largest - 7);
            memset(buffer, n, size);
            memcpy(buffer, &n, 8);
            send_message(buffer, size);
        }
        announce();
        leave(PRODUCER);
        return 0;
    }
    take_handle(CONSUMER);
    mine = load(consumer_head(), acquire);
    uint64_t received = 0, sum = 0, n;
    for (long size; received < messages && (size = receive(buffer)) >= 0; received++) {
        if (size < 8) stop("a message too small");
        memcpy(&n, buffer, 8);
        for (long i = 8; i < size; i++)
            if (buffer[i] != (unsigned char)n) stop("a message that differs");
        sum += n;
    }
    grant();
    leave(CONSUMER);
    printf("%llu %llu\n", (unsigned long long)received, (unsigned long long)sum);
    return 0;
}
