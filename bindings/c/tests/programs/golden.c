// Reads a segment that is written down word by word (crates/ultrafastring/tests/golden/segment.txt) as a
// program would that knows docs/layout.md alone: it takes places from the table of areas, and checks
// what it finds there. It is not linked with the library: `golden FILE`.

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS (1 << 16)
#define ABANDONED (UINT64_C(1) << 63)

static uint64_t words[WORDS];

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "golden.c:%d: not so: %s\n", __LINE__, #what);                         \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

// Lines are `place = value meaning`, or with `~` where the value is made up.
static void read_words(const char *path) {
    char line[256];
    FILE *const file = fopen(path, "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        uint64_t place, value;
        char kind;
        CHECK(sscanf(line, "%" SCNu64 " %c 0x%" SCNx64, &place, &kind, &value) == 3);
        CHECK(place < WORDS && (kind == '=' || kind == '~'));
        words[place] = value;
    }
    fclose(file);
}

// The word at a byte of the segment.
static uint64_t at(uint64_t byte) {
    CHECK(byte % 8 == 0 && byte / 8 < WORDS);
    return words[byte / 8];
}

// Areas, by their number in the table, which begins at word 32.
enum area { LANES, CONTROL, GROUPS, CURSORS, PARTICIPANTS, HOLDS, SLOTS, SIDE_BUFFERS, AREAS = 10 };

// Where row `row` of an area begins.
static uint64_t row_of(enum area area, uint64_t row) {
    const uint64_t *const entry = words + 32 + 3 * area;
    CHECK(row < entry[2]);
    return entry[0] + row * entry[1];
}

static void the_header_says_what_was_chosen(void) {
    const uint64_t reserves[5] = {4, 3, 2, 1, 0};
    CHECK(memcmp(words, "UFRring\0", 8) == 0);
    CHECK(words[1] == 3);                      // layout version
    CHECK(words[2] % words[6] == 0);           // size, in whole pages
    CHECK(words[3] == 0);                      // features
    CHECK(words[5] == 64 && words[6] == 4096); // line, page
    CHECK(words[8] == 16 && words[9] == 5);    // capacity, participants
    CHECK(words[10] == 100);                   // bytes of the largest message
    CHECK(words[11] == 2);                     // the consumer side is exclusive
    CHECK(words[12] == 2 && words[13] == 1);   // one timestamp in two, discarded after a death
    CHECK(words[14] == 15 && memcmp(words + 15, reserves, sizeof reserves) == 0);
}

static void areas_are_apart_and_inside(void) {
    const uint64_t strides[AREAS] = {512, 512, 512, 256, 1024, 0, 64, 128, 0, 0};
    const uint64_t counts[AREAS] = {1, 1, 1, 1, 5, 0, 16, 16, 0, 0};
    for (int one = 0; one < AREAS; one++) {
        const uint64_t *const entry = words + 32 + 3 * one;
        const uint64_t end = entry[0] + entry[1] * entry[2];
        CHECK(entry[1] == strides[one] && entry[2] == counts[one]);
        if (entry[2] == 0) {
            CHECK(entry[0] == 0);
            continue;
        }
        CHECK(entry[0] >= 4096 && end <= words[2]);
        CHECK(entry[0] % (one == PARTICIPANTS || one >= SLOTS ? words[6] : 128) == 0);
        for (int other = 0; other < AREAS; other++) {
            const uint64_t *const second = words + 32 + 3 * other;
            const uint64_t second_end = second[0] + second[1] * second[2];
            CHECK(one == other || second[2] == 0 || end <= second[0] || second_end <= entry[0]);
        }
    }
}

static void counters_are_where_they_were_left(void) {
    const uint64_t lane = row_of(LANES, 0), cursor = row_of(CURSORS, 0), control = row_of(CONTROL, 0);
    CHECK(at(lane) == 5 && at(lane + 128) == 4 && at(lane + 256) == 0);
    CHECK(at(lane + 384) == words[8] && at(lane + 392) == row_of(SLOTS, 0));
    CHECK(at(lane + 400) == row_of(SIDE_BUFFERS, 0) && at(lane + 408) == words[10]);
    CHECK(at(lane + 424) == words[14]);
    CHECK(at(cursor) == 2); // two were passed: one received, one abandoned
    CHECK(at(control) == 2 && at(control + 24) == 2 && at(control + 32) == 1);
    // Both bells: nobody sleeps, and somebody wants fences.
    CHECK((uint32_t)at(control + 128) == 4 && (uint32_t)at(control + 256) == 4);
}

static void entries_say_who_does_what(void) {
    const uint64_t producer = row_of(PARTICIPANTS, 0), consumer = row_of(PARTICIPANTS, 1);
    const char name[] = "golden participant";
    CHECK(at(producer) == 1);                           // taken, a producer, shared
    CHECK(at(consumer) == (1 | 2 | 4));                 // taken, a consumer, exclusive
    CHECK(memcmp(words + (producer + 64) / 8, name, sizeof name) == 0);
    CHECK(at(producer + 128) == ((UINT64_C(4) + 1) << 6)); // claims position 4
    CHECK(at(consumer + 192) == ((UINT64_C(2) + 1) << 6)); // holds position 2
    CHECK(at(producer + 256 + 4 * 64) == 1 && at(producer + 256 + 4 * 64 + 8) == 100);
    CHECK(at(consumer + 256 + 64 + 16) == 1 && at(consumer + 256 + 64 + 24) == 5);
    for (uint64_t free = 2; free < words[9]; free++) {
        CHECK(at(row_of(PARTICIPANTS, free)) == 0);
    }
}

// Where the payload of position `position` lies, and its size; 0 if there is no message.
static uint64_t message_at(uint64_t position, uint64_t *size, unsigned *class_of) {
    const uint64_t slot = row_of(SLOTS, position % words[8]), meta = at(slot + 8);
    const uint64_t place = slot + 24;
    if (at(slot) != position + 1) {
        return 0;
    }
    *class_of = (unsigned)(meta & 0xff);
    if ((meta & 0x100) == 0) {
        *size = meta >> 16 & 0xffff;
        return place;
    }
    *size = at(place);
    return row_of(SIDE_BUFFERS, position % words[8]);
}

static void slots_have_the_messages(void) {
    unsigned char expected[100];
    uint64_t size = 0, place;
    unsigned class_of = 9;
    place = message_at(0, &size, &class_of);
    CHECK(place != 0 && size == 5 && class_of == 1 && at(place - 8) != 0);
    CHECK(memcmp(words + place / 8, "first\0\0", 8) == 0);
    CHECK(at(row_of(SLOTS, 1)) == (ABANDONED | 2) && message_at(1, &size, &class_of) == 0);
    place = message_at(2, &size, &class_of);
    memset(expected, 7, sizeof expected);
    CHECK(size == 40 && class_of == 0 && memcmp(words + place / 8, expected, 40) == 0);
    place = message_at(3, &size, &class_of);
    memset(expected, 9, sizeof expected);
    CHECK(place == row_of(SIDE_BUFFERS, 3) && size == 100 && class_of == 4);
    CHECK(memcmp(words + place / 8, expected, 100) == 0);
    CHECK(at(row_of(SLOTS, 3) + 16) == 0); // the second of two has no timestamp
    CHECK(message_at(4, &size, &class_of) == 0); // claimed, and not committed
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    read_words(argv[1]);
    the_header_says_what_was_chosen();
    areas_are_apart_and_inside();
    counters_are_where_they_were_left();
    entries_say_who_does_what();
    slots_have_the_messages();
    return 0;
}
