// How the test programs check: a wrong one says where, and ends.

#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__, #what,     \
                    ufr_last_error());                                                             \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#endif
