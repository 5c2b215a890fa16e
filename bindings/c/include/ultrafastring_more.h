// UltraFastRing for C and C++: what is not needed every day. ultrafastring.h says what holds for all
// functions.
//
// Several messages in one call; messages that are written and read where they lie; groups of consumers;
// in which order a consumer takes from lanes; readers for whom nobody waits; rings in other directories,
// on the heap, or without a name; statistics and latencies; looking at a ring without taking part; how
// handles wait, in event loops and several at once too, and when they stop. This file is generated from
// the library's sources.

#ifndef ULTRAFASTRING_MORE_H
#define ULTRAFASTRING_MORE_H

#include "ultrafastring.h"

// Most messages that one call receives or borrows.
#define UFR_MAX_BATCH 64
// The group did not keep up, and was evicted: it goes on at the latest, so receive again. Where there
// is a `ufr_received`, its `position` is how many messages were missed, and all else is 0.
#define UFR_ERR_EVICTED (-37)
// A group that may be evicted does not read in place. Receive a copy.
#define UFR_ERR_NOT_IN_PLACE (-38)
// A group that is new, or closed, starts at what is sent next.
#define UFR_START_LATEST 0
// At the oldest message that is still there.
#define UFR_START_OLDEST 1
// At a position.
#define UFR_START_POSITION 2
// Where it was: only a durable group that is open can be resumed.
#define UFR_START_RESUME 3

// How a group keeps its place: as it is; a new one as `UFR_GROUP_PASSING`.
#define UFR_GROUP_UNSET 0
// Only while it has a living member.
#define UFR_GROUP_PASSING 1
// Always: producers wait for it until somebody joins it again, or removes it.
#define UFR_GROUP_DURABLE 2

// What happens to a group that does not keep up: as it is; to a new one as `UFR_SLOW_WAIT`.
#define UFR_SLOW_UNSET 0
// Producers wait for it.
#define UFR_SLOW_WAIT (-1)

// Producers do not wait for a group: nobody is in it, and it keeps no place.
#define UFR_GROUP_CLOSED 0
// Producers wait for it.
#define UFR_GROUP_OPEN 1
// It was evicted, and no member has received since.
#define UFR_GROUP_EVICTED 2
// Messages of this ring cannot be received in time order: it has no lanes by producer, or not each
// message has a timestamp. Make it with N `lanes`, and with timestamps.
#define UFR_ERR_NO_TIME_ORDER (-40)
// The lanes of this ring do not age. Make it with `UFR_LANES_BY_CLASS`.
#define UFR_ERR_NO_CLASS_LANES (-41)
// Each lane of a ring with lanes by producer has its owner, so there is none for another producer.
// `ufr_last_error()` names owners: wait until one leaves, or make the ring with more lanes.
#define UFR_ERR_NO_FREE_LANE (-42)
// Messages were overwritten before a tail reader came to them: it goes on after them, so read again.
// Where there is a `ufr_received`, its `position` is how many were missed, and all else is 0.
#define UFR_ERR_OVERRUN (-39)
// The side that sends.
#define UFR_PRODUCERS 0
// The side that receives.
#define UFR_CONSUMERS 1

// A handle that waits spins.
#define UFR_WAIT_SPIN 0
// It spins, and lets other threads run meanwhile.
#define UFR_WAIT_SPIN_THEN_YIELD 1
// It spins for some microseconds, and then sleeps. This holds if nothing is chosen.
#define UFR_WAIT_SPIN_THEN_PARK 2
// It sleeps at once.
#define UFR_WAIT_PARK 3

// A ring that is only looked at: it needs the right to read the ring's file, and those who use the
// ring notice nothing. Any number of threads may use it at once, but for `ufr_observer_free`.
typedef struct ufr_observer ufr_observer;

// A reader of a ring's messages that takes no part in it: no producer waits for it, and it only
// needs the right to read the ring's file. One thread at a time may use it.
typedef struct ufr_tail ufr_tail;

// A message to send.
typedef struct ufr_bytes {
    // Its bytes; may be NULL if there are none.
    const void *data;
    // How many.
    size_t size;
} ufr_bytes;

// Room for a message.
typedef struct ufr_buffer {
    // Where its bytes go; may be NULL if there is room for none.
    void *data;
    // How many fit.
    size_t capacity;
} ufr_buffer;

// A borrowed message.
typedef struct ufr_message {
    // Its bytes, `about.size` of them.
    const void *data;
    // What there is to know about it besides.
    ufr_received about;
} ufr_message;

// How a group is to be joined. Fill it with `ufr_join_init`, then change what you choose.
typedef struct ufr_join {
    // Size of this structure in the caller's header; `ufr_join_init` fills it in.
    size_t size;
    // Where it starts, with `UFR_START_POSITION`.
    uint64_t position;
    // `UFR_SLOW_...`, or for how many nanoseconds producers wait while it receives nothing; then it
    // is evicted: they go on without it, and its members get `UFR_ERR_EVICTED`.
    int64_t evict_after_ns;
    // `UFR_START_...`. A group that is open goes on where it is.
    int32_t start;
    // `UFR_GROUP_...`.
    int32_t keeps;
    // `UFR_SIDE_...` of its members. Default: as the group is; a new one is shared.
    int32_t sharing;
    // 0.
    int32_t reserved;
} ufr_join;

// What the ring tells of a group.
typedef struct ufr_group_info {
    // Its name, and a zero after it.
    char name[40];
    // The next position that it receives.
    uint64_t consumer_head;
    // Up to where it has released: what producers wait for.
    uint64_t consumer_tail;
    // How many positions it is behind the producers; 0 if it is not open.
    uint64_t lag;
    // How many entries are its members', of the living and of the dead whose work nobody has
    // finished.
    size_t members;
    // `UFR_SLOW_WAIT`, or for how many nanoseconds producers wait for it.
    int64_t evict_after_ns;
    // `UFR_GROUP_CLOSED`, `UFR_GROUP_OPEN` or `UFR_GROUP_EVICTED`.
    int32_t state;
    // `UFR_GROUP_PASSING` or `UFR_GROUP_DURABLE`.
    int32_t keeps;
    // `UFR_SIDE_...` of its members.
    int32_t sharing;
    // 0.
    int32_t reserved;
} ufr_group_info;

// What the ring tells of a lane.
typedef struct ufr_lane_info {
    // With lanes by producer, the name of its owner, and a zero after it; empty if nobody owns it.
    char owner_name[72];
    // Messages sent into it.
    uint64_t sent;
    // Messages received from it, each once.
    uint64_t received;
    // Messages in it that are sent and not received.
    uint64_t len;
    // Messages that hold its credit.
    uint64_t credits_spent;
    // How many may at a time.
    uint64_t credit_limit;
    // Its slots.
    size_t capacity;
    // Bytes of its largest message.
    size_t max_message;
    // The owner's process; 0 if nobody owns it. A dead one stays until the lane has its next owner.
    uint32_t owner_pid;
    // 1 if its owner is alive.
    int32_t owner_lives;
    // With lanes by class, `UFR_CLASS_...` of its messages; else -1.
    int32_t priority_class;
    // 1 if it is closed.
    int32_t closed;
} ufr_lane_info;

// What passed through one priority class.
typedef struct ufr_class_stats {
    // Messages sent.
    uint64_t sent;
    // Their bytes.
    uint64_t sent_bytes;
    // Messages received, those redelivered counted again.
    uint64_t received;
    // Their bytes.
    uint64_t received_bytes;
    // Sum of the latencies of those received that carried a timestamp, in ticks.
    uint64_t latency_sum;
    // How many carried one.
    uint64_t latency_count;
    // The largest latency, in ticks.
    uint64_t latency_max;
} ufr_class_stats;

// What a ring has counted, over all participants that have been. `sent - received - discarded`
// messages are in the ring.
typedef struct ufr_stats {
    // Messages sent.
    uint64_t sent;
    // Messages received, each once.
    uint64_t received;
    // Mean latency in ticks of the messages that carried a timestamp.
    uint64_t avg_latency;
    // Slots abandoned in the place of producers that died.
    uint64_t abandoned;
    // Messages redelivered in the place of consumers that died.
    uint64_t redelivered;
    // Messages discarded in the place of consumers that died.
    uint64_t discarded;
    // Messages that hold credit.
    uint64_t credits_spent;
    // How many may at a time.
    uint64_t credit_limit;
    // 1 if an eighth of the credit limit, or less, is left.
    uint64_t under_pressure;
    // By class. Handles store them once in up to 64 messages.
    struct ufr_class_stats classes[5];
} ufr_stats;

// How long messages took from send to receive: those that carried a timestamp. Times are in
// nanoseconds, at most a sixteenth off, and 0 if no message is counted. Messages that a consumer
// received within 200 ns are counted with their mean, when it gives credit back at the latest, or
// by `ufr_consumer_flush`.
typedef struct ufr_latency {
    // How many messages are counted; one that was received again counts again.
    uint64_t count;
    // Their mean.
    double mean_ns;
    // What half of them did not exceed.
    double p50_ns;
    // What 90 % of them did not exceed.
    double p90_ns;
    // What 99 % of them did not exceed.
    double p99_ns;
    // What 99.9 % of them did not exceed.
    double p999_ns;
    // The longest that was counted. `ufr_class_stats` has the longest of single messages.
    double max_ns;
} ufr_latency;

// Latencies of what was received. Prepare it with `ufr_latencies_init`.
typedef struct ufr_latencies {
    // Size of this structure in the caller's header; `ufr_latencies_init` fills it in.
    size_t size;
    // Of all classes.
    struct ufr_latency all;
    // By class.
    struct ufr_latency classes[5];
} ufr_latencies;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Sends `count` messages in order; waits while there is no room. `*sent` says how many were sent;
// `sent` may be NULL. If one is too large, none is sent.
//
// Returns `UFR_OK`, or why the next was not sent: as `ufr_send`. One thread at a time.
int32_t ufr_send_many(ufr_producer *producer,
                      const struct ufr_bytes *messages,
                      size_t count,
                      int32_t priority_class,
                      size_t *sent);

// As `ufr_send_many`, and never waits: sends as many as there is room for, which is fine, and
// returns `UFR_ERR_FULL` or `UFR_ERR_OUT_OF_CREDIT` if that is none.
int32_t ufr_try_send_many(ufr_producer *producer,
                          const struct ufr_bytes *messages,
                          size_t count,
                          int32_t priority_class,
                          size_t *sent);

// As `ufr_send_many`, and waits for `timeout_ns` nanoseconds at most: then returns
// `UFR_ERR_TIMED_OUT`. A negative time is without end.
int32_t ufr_send_many_timeout(ufr_producer *producer,
                              const struct ufr_bytes *messages,
                              size_t count,
                              int32_t priority_class,
                              int64_t timeout_ns,
                              size_t *sent);

// Receives as many messages as are there, one into each of the `count` buffers, and at most
// `UFR_MAX_BATCH`; waits while there is none. `received` must have room for `count`: what there is
// to know about each, its size first.
//
// Returns how many, or why none was received: as `ufr_recv`. One thread at a time.
ptrdiff_t ufr_recv_many(ufr_consumer *consumer,
                        struct ufr_buffer *buffers,
                        size_t count,
                        ufr_received *received);

// As `ufr_recv_many`, and never waits: returns `UFR_ERR_EMPTY` if there is no message.
ptrdiff_t ufr_try_recv_many(ufr_consumer *consumer,
                            struct ufr_buffer *buffers,
                            size_t count,
                            ufr_received *received);

// As `ufr_recv_many`, and waits for `timeout_ns` nanoseconds at most: then returns
// `UFR_ERR_TIMED_OUT`. A negative time is without end.
ptrdiff_t ufr_recv_many_timeout(ufr_consumer *consumer,
                                struct ufr_buffer *buffers,
                                size_t count,
                                ufr_received *received,
                                int64_t timeout_ns);

// Reserves a place for a message of `size` bytes, which the caller writes at `*data` and sends by
// `ufr_commit`; waits while there is no room.
//
// `*data` belongs to the library, and may be written to until the place is committed or cancelled.
// It holds whatever an earlier message left there. Meanwhile other calls on this producer return
// `UFR_ERR_IN_USE`, and what other producers send is not received before this message is
// committed or cancelled.
//
// Returns `UFR_OK`, or as `ufr_send`. One thread at a time.
int32_t ufr_reserve(ufr_producer *producer, size_t size, int32_t priority_class, void **data);

// As `ufr_reserve`, and never waits.
int32_t ufr_try_reserve(ufr_producer *producer, size_t size, int32_t priority_class, void **data);

// As `ufr_reserve`, and waits for `timeout_ns` nanoseconds at most: then returns
// `UFR_ERR_TIMED_OUT`. A negative time is without end.
int32_t ufr_reserve_timeout(ufr_producer *producer,
                            size_t size,
                            int32_t priority_class,
                            void **data,
                            int64_t timeout_ns);

// Sends the message that was written in place: its first `size` bytes, which may be less than were
// reserved.
//
// Returns `UFR_OK`; `UFR_ERR_INVALID_ARGUMENT` if nothing is reserved, or less: then the place stays
// reserved. One thread at a time. Does not wait.
int32_t ufr_commit(ufr_producer *producer,
                   size_t size);

// Gives a reserved place up: nothing is sent.
//
// Returns `UFR_OK`; `UFR_ERR_INVALID_ARGUMENT` if nothing is reserved. One thread at a time. Does
// not wait.
int32_t ufr_cancel(ufr_producer *producer);

// Borrows as many messages as are there, at most `most` and at most `UFR_MAX_BATCH`, and says in
// `messages` where each is; waits while there is none. They stay in the ring until `ufr_release`:
// if this process is killed before, another consumer gets them, marked as redelivered.
//
// The bytes belong to the library, and may be read until their message is released. Those of a
// message over 40 bytes are in memory that is shared: a peer that breaks the protocol can change
// them at any time, so copy what you check. Meanwhile other calls on this consumer return
// `UFR_ERR_IN_USE`.
//
// Returns how many, or why there is none: as `ufr_recv`. One thread at a time.
ptrdiff_t ufr_borrow(ufr_consumer *consumer, struct ufr_message *messages, size_t most);

// As `ufr_borrow`, and never waits: returns `UFR_ERR_EMPTY` if there is no message.
ptrdiff_t ufr_try_borrow(ufr_consumer *consumer, struct ufr_message *messages, size_t most);

// As `ufr_borrow`, and waits for `timeout_ns` nanoseconds at most: then returns
// `UFR_ERR_TIMED_OUT`. A negative time is without end.
ptrdiff_t ufr_borrow_timeout(ufr_consumer *consumer,
                             struct ufr_message *messages,
                             size_t most,
                             int64_t timeout_ns);

// Releases the first `count` of the messages that are borrowed and not released yet, or all if
// there are no more.
//
// Returns `UFR_OK`; `UFR_ERR_INVALID_ARGUMENT` if none is borrowed. One thread at a time. Does not
// wait.
int32_t ufr_release(ufr_consumer *consumer, size_t count);

// Fills in `*join`: its size, and nothing chosen.
//
// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
int32_t ufr_join_init(struct ufr_join *join);

// Takes a consumer of the group called `group`, which is made if it is not there, of a ring that was
// made with `joinable`. `join` may be NULL: nothing is chosen.
//
// Else as `ufr_consumer_new`; also returns `UFR_ERR_GROUPS`, `UFR_ERR_NO_SUCH_GROUP`,
// `UFR_ERR_GROUP_DIFFERS`, `UFR_ERR_BUSY`. May wait half a second for somebody who opens the group.
int32_t ufr_consumer_join(ufr_ring *ring,
                          const char *group,
                          const struct ufr_join *join,
                          ufr_consumer **consumer);

// Removes a group: producers do not wait for it any more, and its name is free.
//
// Returns `UFR_OK`, `UFR_ERR_GROUPS`, `UFR_ERR_NO_SUCH_GROUP`, `UFR_ERR_BUSY` if it has a living
// member, or another code. Thread-safe. Does not wait.
int32_t ufr_ring_remove_group(ufr_ring *ring, const char *group);

// Fills `groups`, which has room for `most`, with the groups of the ring; `groups` may be NULL if
// `most` is 0.
//
// Returns how many groups there are, which may be more than `most`; none in a ring that is not
// joinable. Or `UFR_ERR_NULL`. Thread-safe. Does not wait.
ptrdiff_t ufr_ring_groups(const ufr_ring *ring, struct ufr_group_info *groups, size_t most);

// Has this consumer of a ring with lanes by producer receive messages in the order in which they
// were sent, by their timestamps. It waits for lanes that have nothing, for up to `wait_ns`
// nanoseconds after the oldest message was sent; until then functions that do not wait return
// `UFR_ERR_EMPTY`. 0 does not wait for them: the oldest of what is there is next. A negative time is
// without end.
//
// What is in the ring within that time after its timestamp comes in order. What comes later, and
// after a younger one, has `late` of its `ufr_received` set. A second call changes the time.
//
// Returns `UFR_OK`, `UFR_ERR_NO_TIME_ORDER`, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a
// time. Does not wait.
int32_t ufr_consumer_in_time_order(ufr_consumer *consumer,
                                   int64_t wait_ns);

// How many messages this consumer has received late, in time order.
//
// Returns how many, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
ptrdiff_t ufr_consumer_late(ufr_consumer *consumer);

// Has one receive in `one_in` of this consumer take from the lanes by class in turn, the least
// urgent at first, so that each class gets its share, however much there is of more urgent ones. A
// function that receives several messages takes them from one lane, and counts once. 0 takes the
// most urgent message always, as at first.
//
// Returns `UFR_OK`, `UFR_ERR_NO_CLASS_LANES`, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a
// time. Does not wait.
int32_t ufr_consumer_ageing(ufr_consumer *consumer, uint32_t one_in);

// How many messages all consumers of the ring have received late, those that are gone included.
//
// Returns how many, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
ptrdiff_t ufr_ring_late(const ufr_ring *ring);

// As `ufr_ring_late`.
ptrdiff_t ufr_observer_late(const struct ufr_observer *observer);

// Fills `lanes`, which has room for `most`, with the lanes of the ring, in their order; `lanes` may
// be NULL if `most` is 0. A ring without lanes has one.
//
// Returns how many lanes there are, which may be more than `most`; or `UFR_ERR_NULL`. Thread-safe.
// Does not wait; it asks the kernel for each owner.
ptrdiff_t ufr_ring_lanes(const ufr_ring *ring, struct ufr_lane_info *lanes, size_t most);

// As `ufr_ring_lanes`.
ptrdiff_t ufr_observer_lanes(const struct ufr_observer *observer,
                             struct ufr_lane_info *lanes,
                             size_t most);

// Opens a tail reader of the ring called `name`, which was made with `joinable`. `start` is
// `UFR_START_LATEST`, `UFR_START_OLDEST`, or `UFR_START_POSITION`: at `position`. Of `settings`,
// which may be NULL, the directory and the trust matter.
//
// On success `*tail` is the caller's, who frees it with `ufr_tail_free`. On failure it is NULL.
// Returns `UFR_OK`, `UFR_ERR_GROUPS`, or as `ufr_ring_open`. Thread-safe. Does not wait.
int32_t ufr_tail_open(const char *name,
                      const ufr_settings *settings,
                      int32_t start,
                      uint64_t position,
                      struct ufr_tail **tail);

// Frees a tail reader. NULL is fine.
//
// The caller may not use it any more. Does not wait.
void ufr_tail_free(struct ufr_tail *tail);

// Reads the next message, of any size; waits while there is none, by looking again and again.
// `*data` is where a copy of it is, which belongs to the reader and stays until the next call on
// it. `received` may be NULL.
//
// Returns the size of the message, or why none was read: `UFR_ERR_OVERRUN`, `UFR_ERR_CLOSED`,
// `UFR_ERR_OUT_OF_MEMORY`, `UFR_ERR_DAMAGED`, `UFR_ERR_NULL`. One thread at a time.
ptrdiff_t ufr_tail_next(struct ufr_tail *tail, const void **data, ufr_received *received);

// As `ufr_tail_next`, and never waits: returns `UFR_ERR_EMPTY` if there is no message.
ptrdiff_t ufr_tail_try_next(struct ufr_tail *tail, const void **data, ufr_received *received);

// As `ufr_tail_next`, and waits for `timeout_ns` nanoseconds at most: then returns
// `UFR_ERR_TIMED_OUT`. A negative time is without end.
ptrdiff_t ufr_tail_next_timeout(struct ufr_tail *tail,
                                const void **data,
                                ufr_received *received,
                                int64_t timeout_ns);

// Reads the newest message that is there, and goes on after it: those before are passed over, and
// do not count as missed.
//
// Returns as `ufr_tail_try_next`: `UFR_ERR_EMPTY` also if there is none that it has not read. Never
// waits.
ptrdiff_t ufr_tail_latest(struct ufr_tail *tail, const void **data, ufr_received *received);

// Writes the position that the reader reads next to `position`, and how many it has missed since it
// was opened to `missed`; each may be NULL.
//
// Returns `UFR_OK`, or `UFR_ERR_NULL`. One thread at a time. Does not wait.
int32_t ufr_tail_progress(struct ufr_tail *tail, uint64_t *position, uint64_t *missed);

// The lane of the message that was read last, from 0: that of its class, or of its producer. What
// `ufr_tail_progress` tells as the position is of that lane.
//
// Returns the lane, or `UFR_ERR_NULL`. One thread at a time. Does not wait.
ptrdiff_t ufr_tail_lane(struct ufr_tail *tail);

// For how many nanoseconds the reader sleeps between two looks: what a message may be late, and
// what waiting costs. At first a million.
//
// Returns `UFR_OK`, `UFR_ERR_NULL`, or `UFR_ERR_INVALID_ARGUMENT`. One thread at a time. Does not
// wait.
int32_t ufr_tail_set_poll(struct ufr_tail *tail, int64_t poll_ns);

// Opens the ring called `name`: as `ufr_ring_open`, in the directory of `settings` and with their
// trust and participant name. `settings` may be NULL.
int32_t ufr_ring_open_with(const char *name, const ufr_settings *settings, ufr_ring **ring);

// Takes the name of a ring away: as `ufr_ring_remove`, in the directory of `settings`, which may be
// NULL.
int32_t ufr_ring_remove_with(const char *name, const ufr_settings *settings);

// Removes the ring called `name`, and its messages, if nobody alive has it open. `*removed` is 1 if
// it did and 0 if not; `removed` may be NULL, and so may `settings`.
//
// Returns `UFR_OK`, or as `ufr_ring_open`. Thread-safe. Does not wait.
int32_t ufr_ring_remove_stale(const char *name, const ufr_settings *settings, int32_t *removed);

// Makes a ring on the heap, for threads of this process. `settings` may be NULL.
//
// Else as `ufr_ring_create`.
int32_t ufr_ring_heap(const ufr_settings *settings, ufr_ring **ring);

// Makes a ring without a name, in memory that nobody can truncate, for processes to which it is
// handed over with `ufr_ring_hand_to`. `settings` may be NULL.
//
// Else as `ufr_ring_create`; also returns `UFR_ERR_SYSTEM` where the system forbids such memory.
int32_t ufr_ring_anonymous(const ufr_settings *settings, ufr_ring **ring);

// Hands an anonymous ring to the process at the other end of the Unix socket `socket`, which takes
// it with `ufr_ring_take_from`. The descriptor stays the caller's.
//
// Returns `UFR_OK`, `UFR_ERR_NOT_HANDED_OVER`, `UFR_ERR_NOT_TRUSTED`, `UFR_ERR_SYSTEM`, or another
// code. Thread-safe. May wait as the socket does.
int32_t ufr_ring_hand_to(const ufr_ring *ring, int socket);

// Takes a ring that the process at the other end of the Unix socket `socket` hands over. Of
// `settings`, which may be NULL, the trust and the participant name matter. The descriptor stays
// the caller's.
//
// On success `*ring` is the caller's, as of `ufr_ring_create`. Returns `UFR_OK`,
// `UFR_ERR_NOT_HANDED_OVER`, `UFR_ERR_NOT_TRUSTED`, `UFR_ERR_NOT_A_RING`, `UFR_ERR_LAYOUT_VERSION`,
// `UFR_ERR_SYSTEM`, or another code. Thread-safe. Waits as long as the socket does
// (`SO_RCVTIMEO`).
int32_t ufr_ring_take_from(int socket, const ufr_settings *settings, ufr_ring **ring);

// Has this process survive that the file of a ring is truncated: calls return `UFR_ERR_DAMAGED`
// instead of ending it by SIGBUS. It installs a handler of that signal, which passes on what is
// not about rings. Once a process is enough.
//
// Returns `UFR_OK`, or `UFR_ERR_SYSTEM`. Thread-safe. Does not wait.
int32_t ufr_survive_truncation(void);

// Fills `*settings` with what the ring was made with, and its size. What is not written in a ring,
// the directory for one, is not chosen in it.
//
// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
int32_t ufr_ring_settings(const ufr_ring *ring, ufr_settings *settings);

// Fills `*stats` with what the ring has counted.
//
// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
int32_t ufr_ring_stats(const ufr_ring *ring, struct ufr_stats *stats);

// Messages that are sent and not received, at about this moment.
//
// Returns how many, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
ptrdiff_t ufr_ring_len(const ufr_ring *ring);

// How many handles of a side (`UFR_PRODUCERS` or `UFR_CONSUMERS`) are held by the living.
//
// Returns how many, `UFR_ERR_NULL`, or `UFR_ERR_INVALID_ARGUMENT`. Thread-safe. Does not wait; it
// asks the kernel for each participant.
ptrdiff_t ufr_ring_living(const ufr_ring *ring, int32_t side);

// Whether the ring is closed.
//
// Returns 1 or 0, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
int32_t ufr_ring_is_closed(const ufr_ring *ring);

// Opens a closed ring again, as taking a producer does.
//
// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
int32_t ufr_ring_reopen(const ufr_ring *ring);

// Takes a producer: as `ufr_producer_new`, and does not open a closed ring again: returns
// `UFR_ERR_CLOSED`.
int32_t ufr_producer_new_unless_closed(ufr_ring *ring, ufr_producer **producer);

// Opens the ring called `name` to look at it. Of `settings`, which may be NULL, the directory and
// the trust matter.
//
// On success `*observer` is the caller's, who frees it with `ufr_observer_free`. On failure it is
// NULL. Returns `UFR_OK`, or as `ufr_ring_open`. Thread-safe. Does not wait.
int32_t ufr_observer_open(const char *name,
                          const ufr_settings *settings,
                          struct ufr_observer **observer);

// Frees an observer. NULL is fine.
//
// No other thread may use it during this call or after it. Does not wait.
void ufr_observer_free(struct ufr_observer *observer);

// As `ufr_ring_settings`.
int32_t ufr_observer_settings(const struct ufr_observer *observer, ufr_settings *settings);

// As `ufr_ring_stats`.
int32_t ufr_observer_stats(const struct ufr_observer *observer, struct ufr_stats *stats);

// As `ufr_ring_len`.
ptrdiff_t ufr_observer_len(const struct ufr_observer *observer);

// As `ufr_ring_living`: as far as this process may see those who take part.
ptrdiff_t ufr_observer_living(const struct ufr_observer *observer, int32_t side);

// As `ufr_ring_groups`.
ptrdiff_t ufr_observer_groups(const struct ufr_observer *observer,
                              struct ufr_group_info *groups,
                              size_t most);

// Whether the ring's file was truncated or wiped out: what the observer tells means nothing then.
//
// Returns 1 or 0, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
int32_t ufr_observer_is_damaged(const struct ufr_observer *observer);

// Fills in `*latencies`: its size, and nothing counted.
//
// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
int32_t ufr_latencies_init(struct ufr_latencies *latencies);

// Fills `*latencies` with those of the group called `group`, or of all groups if it is NULL, as in
// a ring without groups.
//
// Returns `UFR_OK`; `UFR_ERR_INVALID_ARGUMENT` if the ring was made without `latency_histograms`,
// or the structure was not prepared; `UFR_ERR_NO_SUCH_GROUP`, or `UFR_ERR_NULL`. Thread-safe. Does
// not wait.
int32_t ufr_ring_latencies(const ufr_ring *ring,
                           const char *group,
                           struct ufr_latencies *latencies);

// As `ufr_ring_latencies`.
int32_t ufr_observer_latencies(const struct ufr_observer *observer,
                               const char *group,
                               struct ufr_latencies *latencies);

// How this producer waits from now on: `UFR_WAIT_...`.
//
// Returns `UFR_OK`, `UFR_ERR_NULL`, `UFR_ERR_INVALID_ARGUMENT`, or `UFR_ERR_IN_USE`. One thread at
// a time. Does not wait.
int32_t ufr_producer_set_wait(ufr_producer *producer, int32_t how);

// As `ufr_producer_set_wait`, of a consumer.
int32_t ufr_consumer_set_wait(ufr_consumer *consumer, int32_t how);

// Announces what was sent and stores the statistics now. A message itself can be received as soon
// as it is sent, and needs no flush.
//
// Returns `UFR_OK`, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
int32_t ufr_producer_flush(ufr_producer *producer);

// Gives credit back for what was received, and stores the statistics now. It is done by itself
// once in some messages, and before a wait.
//
// Returns `UFR_OK`, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
int32_t ufr_consumer_flush(ufr_consumer *consumer);

// Ends the stream, as `ufr_close` does, with all that this producer has counted.
//
// Returns `UFR_OK`, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
int32_t ufr_producer_close(ufr_producer *producer);

// Whether calls that wait for room end with `UFR_ERR_DESERTED` (`ends` is 1) when consumers have
// been, and none is left. 0 at first: a consumer that comes again goes on.
//
// Returns `UFR_OK`, `UFR_ERR_NULL`, `UFR_ERR_INVALID_ARGUMENT`, or `UFR_ERR_IN_USE`. One thread at
// a time. Does not wait.
int32_t ufr_producer_end_when_deserted(ufr_producer *producer, int32_t ends);

// Whether calls that wait for a message end with `UFR_ERR_DESERTED` (`ends` is 1) when the ring is
// empty, producers have been, and none is left. 0 at first: a producer that comes again, after a
// crash as well, goes on with the stream. One that is killed is noticed within 100 milliseconds.
//
// Returns as `ufr_producer_end_when_deserted`.
int32_t ufr_consumer_end_when_deserted(ufr_consumer *consumer, int32_t ends);

// Whether consumers have been, and none is left. It asks the kernel for each: for now and then.
//
// Returns 1 or 0, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
int32_t ufr_producer_is_deserted(ufr_producer *producer);

// Whether producers have been, and none is left; messages of theirs may be in the ring still.
//
// Returns as `ufr_producer_is_deserted`.
int32_t ufr_consumer_is_deserted(ufr_consumer *consumer);

// Has this consumer treat a closed ring as an empty one until a producer opens it again.
//
// Returns `UFR_OK`, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
int32_t ufr_consumer_await_next_stream(ufr_consumer *consumer);

// A descriptor for `poll`, `epoll` and the like. It becomes readable when there may be a message,
// after `ufr_consumer_arm`. The loop is: receive with functions that do not wait until there is
// nothing; arm; if that returns 0, wait for the descriptor; again.
//
// The descriptor belongs to the consumer, who closes it when it is freed, and is the same in each
// call. It costs a thread that sleeps most of the time. Returns the descriptor, or
// `UFR_ERR_SYSTEM`, `UFR_ERR_NULL`, `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
int32_t ufr_consumer_fd(ufr_consumer *consumer);

// Makes the descriptor of `ufr_consumer_fd` not readable, and has it become readable when there may
// be a message, or after 100 milliseconds.
//
// Returns 0 if the descriptor is to be waited for; 1 if there is a message already: receive it;
// `UFR_ERR_CLOSED` or `UFR_ERR_DESERTED` as a call that waits would; `UFR_ERR_INVALID_ARGUMENT` if
// there is no descriptor; `UFR_ERR_NULL`, `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
int32_t ufr_consumer_arm(ufr_consumer *consumer);

// Calls off what `ufr_consumer_arm` has ordered, for a loop that turns to something else than this
// ring for long: another consumer is woken in its place.
//
// Returns `UFR_OK`, or as `ufr_consumer_arm`. One thread at a time. Does not wait.
int32_t ufr_consumer_disarm(ufr_consumer *consumer);

// As `ufr_consumer_fd`, of a producer: readable when there may be room, after `ufr_producer_arm`.
int32_t ufr_producer_fd(ufr_producer *producer);

// As `ufr_consumer_arm`, for room for a message of `priority_class`.
int32_t ufr_producer_arm(ufr_producer *producer, int32_t priority_class);

// Waits until one of `count` consumers, of any rings, can go on: there is a message, or the call
// that waits would say that the ring is closed or deserted. Of several that can go on each has its
// turn. Waits for `timeout_ns` nanoseconds at most; a negative time is without end.
//
// Returns the place of that consumer in the list, from 0: receive from it by `ufr_try_recv` or the
// like, which may still find nothing where others were faster. `UFR_ERR_TIMED_OUT` if the time is
// over; `UFR_ERR_NULL`; `UFR_ERR_INVALID_ARGUMENT` if there is none, or one is there twice;
// `UFR_ERR_IN_USE`. One thread at a time. A signal does not end the wait.
ptrdiff_t ufr_wait_any(ufr_consumer *const *consumers, size_t count, int64_t timeout_ns);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ULTRAFASTRING_MORE_H */
