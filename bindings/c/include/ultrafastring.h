// UltraFastRing for C and C++: a message ring in shared memory, for processes on one Linux machine.
//
// A ring has a name. Producers send messages into it, and each message goes to one consumer. Any
// process may be killed at any instruction: the others go on, and nothing has to be cleaned up.
//
//     ufr_ring *ring;                                   ufr_ring *ring;
//     ufr_producer *producer;                           ufr_consumer *consumer;
//     ufr_ring_open_or_create("quotes", NULL, &ring);   ufr_ring_open_or_create("quotes", NULL, &ring);
//     ufr_producer_new(ring, &producer);                ufr_consumer_new(ring, &consumer);
//     ufr_send(producer, "AAPL 100", 8,                 char buffer[40];
//              UFR_CLASS_NORMAL);                       ptrdiff_t size = ufr_recv(consumer, buffer, 40, NULL);
//
// What holds for all functions:
//
// - They return UFR_OK, or a number that is not negative, or a negative UFR_ERR_... code.
//   ufr_strerror(code) says what a code means; ufr_last_error() says what went wrong in this thread,
//   and what to do.
// - A null pointer is an error, UFR_ERR_NULL, unless the function says otherwise. Numbers that stand
//   for one of several choices are checked. What cannot be checked is the caller's: that pointers
//   lead to live handles, and to as many bytes as are said.
// - "Thread-safe": any number of threads may call it at once, on the same objects. "One thread at a
//   time": on one handle; different handles never disturb each other.
// - A handle belongs to the process that took it. A child that was forked takes its own.
//
// ultrafastring_more.h has the rest: batches, messages in place, statistics, event loops, rings
// without a name. ultrafastring_inline.h sends and receives without a call, on exclusive sides.
// This file is generated from the library's sources.

#ifndef ULTRAFASTRING_H
#define ULTRAFASTRING_H

#include <stddef.h>
#include <stdint.h>

// Version of this header. The library's is `ufr_version()`.
#define UFR_VERSION_MAJOR 0
#define UFR_VERSION_MINOR 2
#define UFR_VERSION_PATCH 0
// Done.
#define UFR_OK 0
// There is no message. Try again, or call a function that waits.
#define UFR_ERR_EMPTY (-1)
// Every slot is taken. Try again when consumers have caught up, or call a function that waits.
#define UFR_ERR_FULL (-2)
// No credit is left for this priority class. Else as `UFR_ERR_FULL`.
#define UFR_ERR_OUT_OF_CREDIT (-3)
// The time is over, and nothing was sent or received.
#define UFR_ERR_TIMED_OUT (-4)
// The ring is closed: nothing more is sent, and all is received.
#define UFR_ERR_CLOSED (-5)
// The last peer has left, and this handle does not wait for another.
#define UFR_ERR_DESERTED (-6)
// The buffer is smaller than the next message, which stays in the ring.
#define UFR_ERR_BUFFER_TOO_SMALL (-7)
// The message is larger than the ring was made for.
#define UFR_ERR_TOO_LARGE (-8)
// There is no room on the file system, or in the side buffers' memory.
#define UFR_ERR_NO_SPACE (-9)
// There is not enough memory.
#define UFR_ERR_OUT_OF_MEMORY (-10)
// The ring's file was truncated or wiped out. Make a new ring.
#define UFR_ERR_DAMAGED (-11)
// A pointer is null that must not be.
#define UFR_ERR_NULL (-12)
// An argument has a value that means nothing.
#define UFR_ERR_INVALID_ARGUMENT (-13)
// A setting is out of range.
#define UFR_ERR_INVALID_SETTINGS (-14)
// The name cannot be a ring's.
#define UFR_ERR_BAD_NAME (-15)
// There is a ring of this name.
#define UFR_ERR_NAME_TAKEN (-16)
// There is no ring of this name.
#define UFR_ERR_NO_SUCH_RING (-17)
// The directory for rings is not there.
#define UFR_ERR_NO_DIRECTORY (-18)
// The file system does not let this process open the ring.
#define UFR_ERR_PERMISSION_DENIED (-19)
// The ring, or the process at the other end of a socket, belongs to somebody else.
#define UFR_ERR_NOT_TRUSTED (-20)
// The ring is there, with other settings than were chosen.
#define UFR_ERR_SETTINGS_DIFFER (-21)
// The ring was made by a library with another layout of the memory, or with features that this one
// does not know.
#define UFR_ERR_LAYOUT_VERSION (-22)
// The file is not a ring, or a damaged one.
#define UFR_ERR_NOT_A_RING (-23)
// The side, or the group, is exclusive, and somebody has it.
#define UFR_ERR_SIDE_TAKEN (-24)
// There are as many handles, or groups, as the ring was made for.
#define UFR_ERR_TABLE_FULL (-25)
// This process, or the system, has no file descriptor left.
#define UFR_ERR_NO_DESCRIPTORS (-26)
// The ring was opened before this process was forked.
#define UFR_ERR_FORKED (-27)
// The ring cannot be handed over, or what was handed over is no ring.
#define UFR_ERR_NOT_HANDED_OVER (-28)
// The handle has a message in place that must be given back first.
#define UFR_ERR_IN_USE (-29)
// A system call failed.
#define UFR_ERR_SYSTEM (-30)
// A defect of the library. Free the handle, and report it.
#define UFR_ERR_PANIC (-31)
// The ring's consumers are groups and no group was named, or the reverse.
#define UFR_ERR_GROUPS (-32)
// There is no such group to be resumed or removed.
#define UFR_ERR_NO_SUCH_GROUP (-33)
// The group is there, and is not as it was asked for.
#define UFR_ERR_GROUP_DIFFERS (-34)
// The group has members, or somebody else is opening it. Try again.
#define UFR_ERR_BUSY (-35)
// Something else; `ufr_last_error()` says what.
#define UFR_ERR_OTHER (-36)
// The most urgent priority class. A class is a label, a reserve of credit and a row in the
// statistics. It overtakes others only in a ring with lanes by class: `UFR_LANES_BY_CLASS`.
#define UFR_CLASS_REAL_TIME 0
#define UFR_CLASS_HIGH 1
// What most messages have.
#define UFR_CLASS_NORMAL 2
#define UFR_CLASS_LOW 3
// The least urgent class.
#define UFR_CLASS_BULK 4

// How many handles a side has: not chosen.
#define UFR_SIDE_UNSET 0
// Any number of handles. This holds for a new ring if nothing is chosen.
#define UFR_SIDE_SHARED 1
// One handle at a time: the fastest path.
#define UFR_SIDE_EXCLUSIVE 2

// Which messages carry a timestamp: not chosen. Other values are the two below, and N for one in N
// messages: a power of two from 2 to 65536.
#define UFR_TIMESTAMPS_UNSET 0
// All messages. This holds for a new ring if nothing is chosen.
#define UFR_TIMESTAMPS_EVERY 1
// None.
#define UFR_TIMESTAMPS_OFF (-1)

// How many lanes, queues of slots of their own, a ring has: not chosen. Other values are the two
// below, and N for a lane for each of N producers, of which none holds up another: 1 to 256.
#define UFR_LANES_UNSET 0
// A lane for each class: urgent messages overtake others.
#define UFR_LANES_BY_CLASS (-1)
// One lane. This holds for a new ring if nothing is chosen.
#define UFR_LANES_ONE (-2)

// What becomes of messages that a consumer held when it died: not chosen.
#define UFR_REDELIVERY_UNSET 0
// Another consumer gets them, marked. This holds for a new ring if nothing is chosen.
#define UFR_REDELIVERY_REDELIVER 1
// They are dropped and counted.
#define UFR_REDELIVERY_DISCARD 2

// The memory of large messages is taken page by page, as they need it.
#define UFR_SIDE_MEMORY_ON_DEMAND 0
// It is taken when the ring is made.
#define UFR_SIDE_MEMORY_PREALLOCATED 1
// It is taken page by page, and whether there is enough is not looked at when the ring is made.
#define UFR_SIDE_MEMORY_OVERCOMMITTED 2

// Rings of this user alone.
#define UFR_TRUST_OWN_USER 0
// Rings of this user and of the groups of this process.
#define UFR_TRUST_GROUP 1
// Rings of anybody.
#define UFR_TRUST_ANYONE 2

// A handle that receives. One thread at a time may use it; it may go from thread to thread.
typedef struct ufr_consumer ufr_consumer;

// A handle that sends. One thread at a time may use it; it may go from thread to thread.
typedef struct ufr_producer ufr_producer;

// A ring that this process has open. Any number of threads may use it at once, but for
// `ufr_ring_free`.
typedef struct ufr_ring ufr_ring;

// How a ring is to be. Fill it with `ufr_settings_init`, then change what you choose. 0 and NULL
// mean that nothing is chosen: a new ring gets the default, and a ring that is there is not
// compared in that.
typedef struct ufr_settings {
    // Size of this structure in the caller's header; `ufr_settings_init` fills it in.
    size_t size;
    // Slots: a power of two up to 2^24. Default: 256.
    size_t capacity;
    // How many handles there can be at a time, of both sides: 1 to 4096. Default: 1024.
    size_t participants;
    // Bytes of the largest message: up to 2^30. Default, and the least: 40. Messages up to 40
    // bytes travel in their slot, larger ones in a buffer beside it.
    size_t max_message;
    // How many messages may be in flight: 1 to the capacity, which is the default.
    uint64_t credit_limit;
    // Credits that only this class and more urgent ones can use, by class. Default: none.
    uint64_t reserves[5];
    // Directory of the ring's file. Default: "/dev/shm". Must live during the call only.
    const char *directory;
    // Name of this process's handles, for people: up to 64 bytes. Default: the program's. Must
    // live during the call only.
    const char *participant_name;
    // `UFR_SIDE_...` of producers.
    int32_t producer_side;
    // `UFR_SIDE_...` of consumers.
    int32_t consumer_side;
    // `UFR_TIMESTAMPS_...`, or N for one in N.
    int32_t timestamps;
    // `UFR_REDELIVERY_...`.
    int32_t redelivery;
    // `UFR_SIDE_MEMORY_...`; for a new ring.
    int32_t side_memory;
    // `UFR_TRUST_...`: whom a new ring lets in, and whose rings are opened.
    int32_t trust;
    // 1: `ufr_ring_open_or_create` takes a ring that is there, whatever its settings are.
    int32_t accept_existing;
    // 1: asks the system for huge pages for large messages.
    int32_t huge_pages;
    // 1: handles run a memory fence for each message, as some sandboxes need.
    int32_t fences;
    // 1: each message goes to one member of every group of consumers; `ufr_consumer_join` takes part.
    int32_t joinable;
    // `UFR_LANES_...`, or N. `capacity`, `credit_limit`, `max_message` are those of each lane.
    int32_t lanes;
    // 1: consumers count latencies in histograms: `ufr_ring_latencies`.
    int32_t latency_histograms;
    // With lanes by class, slots of each class's lane. Default: `capacity`; so of the next two.
    size_t capacity_of[5];
    // Messages of each class that may be in flight.
    uint64_t credit_limit_of[5];
    // Bytes of the largest message of each class.
    size_t max_message_of[5];
    // Names of groups that a new ring has, durable and open from the start. As `directory`.
    const char *const *groups;
    // How many groups that are. With `joinable` there is room for others.
    size_t group_count;
} ufr_settings;

// What there is to know about a message besides its bytes.
typedef struct ufr_received {
    // Bytes of the message. After `UFR_ERR_BUFFER_TOO_SMALL` the size that a buffer must have, and
    // all else is 0.
    size_t size;
    // Its place in the endless order of messages: 0 is the first ever, of each lane.
    uint64_t position;
    // When it was sent, in ticks of the time-stamp counter; 0 if it carried no timestamp.
    uint64_t timestamp;
    // Ticks from send to receive; 0 if it carried no timestamp.
    uint64_t latency;
    // `UFR_CLASS_...`.
    int32_t priority_class;
    // 1 if it may have been delivered before, to a consumer that was killed.
    int16_t redelivered;
    // 1 if it came after a younger one: only if `ufr_consumer_in_time_order` was called.
    int16_t late;
} ufr_received;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version, such as "0.2.0". The text is static. Thread-safe. Does not wait.
const char *ufr_version(void);

// What a code means. The text is static; it is never NULL. Thread-safe. Does not wait.
const char *ufr_strerror(int32_t code);

// What went wrong in the last call of this thread that failed, and what to do about it. Empty if
// none has. `UFR_ERR_EMPTY`, `UFR_ERR_FULL` and `UFR_ERR_OUT_OF_CREDIT` do not change it: they
// are answers that programs get all the time.
//
// The text belongs to the library, and stays until the next call of this thread that fails.
// Thread-safe: each thread has its own. Does not wait.
const char *ufr_last_error(void);

// Fills in `*settings`: its size, and nothing chosen.
//
// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
int32_t ufr_settings_init(struct ufr_settings *settings);

// Makes the ring called `name`, for processes. `settings` may be NULL: nothing is chosen.
//
// On success `*ring` is the caller's, who frees it with `ufr_ring_free`. On failure it is NULL.
// Returns `UFR_OK`, `UFR_ERR_NAME_TAKEN`, `UFR_ERR_INVALID_SETTINGS`, `UFR_ERR_BAD_NAME`,
// `UFR_ERR_NO_SPACE`, or another code. Thread-safe. Does not wait for peers; the first ring of a
// process takes some milliseconds.
int32_t ufr_ring_create(const char *name,
                        const struct ufr_settings *settings,
                        struct ufr_ring **ring);

// Opens the ring called `name`, with whatever settings it was made.
//
// Else as `ufr_ring_create`; also returns `UFR_ERR_NO_SUCH_RING`, `UFR_ERR_LAYOUT_VERSION`,
// `UFR_ERR_NOT_A_RING`, `UFR_ERR_NOT_TRUSTED`, `UFR_ERR_PERMISSION_DENIED`.
int32_t ufr_ring_open(const char *name, struct ufr_ring **ring);

// Opens the ring called `name`, or makes it if there is none. A ring that is there must have the
// settings that are chosen. `settings` may be NULL: any ring will do.
//
// Else as `ufr_ring_create` and `ufr_ring_open`; also returns `UFR_ERR_SETTINGS_DIFFER`.
int32_t ufr_ring_open_or_create(const char *name,
                                const struct ufr_settings *settings,
                                struct ufr_ring **ring);

// Frees what `ufr_ring_create` and the like gave. NULL is fine. The ring stays for others, and
// under its name. Its handles stay usable.
//
// No other thread may use `ring` during this call or after it. Does not wait.
void ufr_ring_free(struct ufr_ring *ring);

// Takes the name of a ring away. Those who have it open go on with it; its memory is freed when
// the last of them leaves.
//
// Returns `UFR_OK`, `UFR_ERR_NO_SUCH_RING`, `UFR_ERR_NOT_A_RING`, or another code. Thread-safe.
// May wait up to a second for somebody else who removes it.
int32_t ufr_ring_remove(const char *name);

// Ends the stream: senders get `UFR_ERR_CLOSED`, and consumers too once they have received what is
// left. A new producer opens the ring again.
//
// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
int32_t ufr_close(struct ufr_ring *ring);

// Takes a producer. If the ring is closed, this opens it again, for a new stream.
//
// On success `*producer` is the caller's, who frees it with `ufr_producer_free`; it may outlive
// `ring`. On failure it is NULL. Returns `UFR_OK`, `UFR_ERR_SIDE_TAKEN`, `UFR_ERR_TABLE_FULL`,
// `UFR_ERR_NO_DESCRIPTORS`, `UFR_ERR_FORKED`, or another code. Thread-safe. Does not wait.
int32_t ufr_producer_new(struct ufr_ring *ring, struct ufr_producer **producer);

// Takes a consumer: as `ufr_producer_new`, freed with `ufr_consumer_free`. Each message goes to
// one consumer: several share the work, and nobody gets a copy.
int32_t ufr_consumer_new(struct ufr_ring *ring, struct ufr_consumer **consumer);

// Frees a producer. NULL is fine. What it has sent stays in the ring, which stays open.
//
// The caller may not use it any more. Does not wait.
void ufr_producer_free(struct ufr_producer *producer);

// Frees a consumer. NULL is fine. What it has not received stays for others.
//
// The caller may not use it any more. Does not wait.
void ufr_consumer_free(struct ufr_consumer *consumer);

// Sends the `size` bytes at `data`; waits while there is no room. `data` may be NULL if `size` is
// 0. The bytes are copied: they are the caller's again when this returns.
//
// Returns `UFR_OK`, or why nothing was sent: `UFR_ERR_TOO_LARGE`, `UFR_ERR_CLOSED`,
// `UFR_ERR_DESERTED`, `UFR_ERR_NO_SPACE`, `UFR_ERR_DAMAGED`, `UFR_ERR_NULL`,
// `UFR_ERR_INVALID_ARGUMENT`, `UFR_ERR_IN_USE`. One thread at a time. A signal does not end the
// wait.
int32_t ufr_send(struct ufr_producer *producer,
                 const void *data,
                 size_t size,
                 int32_t priority_class);

// As `ufr_send`, and never waits: returns `UFR_ERR_FULL` or `UFR_ERR_OUT_OF_CREDIT` if there is no
// room.
int32_t ufr_try_send(struct ufr_producer *producer,
                     const void *data,
                     size_t size,
                     int32_t priority_class);

// As `ufr_send`, and waits for `timeout_ns` nanoseconds at most: then returns `UFR_ERR_TIMED_OUT`.
// A negative time is without end.
int32_t ufr_send_timeout(struct ufr_producer *producer,
                         const void *data,
                         size_t size,
                         int32_t priority_class,
                         int64_t timeout_ns);

// Receives the next message into the `capacity` bytes at `buffer`; waits while there is none.
// `*received` says what there is to know about it; `received` may be NULL.
//
// Returns the size of the message, or why none was received: `UFR_ERR_CLOSED`,
// `UFR_ERR_DESERTED`, `UFR_ERR_BUFFER_TOO_SMALL` (the message stays in the ring, and
// `received->size` is its size), `UFR_ERR_OUT_OF_MEMORY`, `UFR_ERR_DAMAGED`, `UFR_ERR_NULL`,
// `UFR_ERR_IN_USE`. One thread at a time. A signal does not end the wait.
ptrdiff_t ufr_recv(struct ufr_consumer *consumer,
                   void *buffer,
                   size_t capacity,
                   struct ufr_received *received);

// As `ufr_recv`, and never waits: returns `UFR_ERR_EMPTY` if there is no message.
ptrdiff_t ufr_try_recv(struct ufr_consumer *consumer,
                       void *buffer,
                       size_t capacity,
                       struct ufr_received *received);

// As `ufr_recv`, and waits for `timeout_ns` nanoseconds at most: then returns `UFR_ERR_TIMED_OUT`.
// A negative time is without end.
ptrdiff_t ufr_recv_timeout(struct ufr_consumer *consumer,
                           void *buffer,
                           size_t capacity,
                           struct ufr_received *received,
                           int64_t timeout_ns);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ULTRAFASTRING_H */
