// Included before a program of the tests (`-include`): what it sends and receives goes by the inline
// header, where that has a function.

#ifndef INLINED_H
#define INLINED_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <ultrafastring_inline.h>

static inline int32_t inlined_send_timeout(ufr_producer *producer, const void *data, size_t size,
                                           int32_t priority_class, int64_t timeout_ns) {
    const int32_t code = ufr_inline_try_send(producer, data, size, priority_class);
    return code == UFR_ERR_FULL || code == UFR_ERR_OUT_OF_CREDIT
               ? ufr_send_timeout(producer, data, size, priority_class, timeout_ns)
               : code;
}

static inline ptrdiff_t inlined_recv_timeout(ufr_consumer *consumer, void *buffer, size_t capacity,
                                             ufr_received *received, int64_t timeout_ns) {
    const ptrdiff_t size = ufr_inline_try_recv(consumer, buffer, capacity, received);
    return size == UFR_ERR_EMPTY
               ? ufr_recv_timeout(consumer, buffer, capacity, received, timeout_ns)
               : size;
}

// From here on.
#define ufr_send ufr_inline_send
#define ufr_try_send ufr_inline_try_send
#define ufr_send_timeout inlined_send_timeout
#define ufr_recv ufr_inline_recv
#define ufr_try_recv ufr_inline_try_recv
#define ufr_recv_timeout inlined_recv_timeout

#endif
