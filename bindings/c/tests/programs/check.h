// How the test programs check: a wrong one says where, and ends. Included after the library's headers.

#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__, #what,     \
                    ufr_last_error());                                                             \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

// Settings in which nothing is chosen.
static inline ufr_settings chosen(void) {
    ufr_settings settings;
    CHECK(ufr_settings_init(&settings) == UFR_OK);
    return settings;
}

// Whether the last error's text has this in it.
static inline int says(const char *text) { return strstr(ufr_last_error(), text) != NULL; }

#endif
