// Classes, sides and other choices, each with its name.

#ifndef ULTRAFASTRING_WORDS_HPP
#define ULTRAFASTRING_WORDS_HPP

#include <cstdint>

#include <ultrafastring.h>
#include <ultrafastring_more.h>

namespace ufr {

// How urgent a message is: a label, a reserve of credit and a row in the statistics. It overtakes others
// in a ring with lanes by class.
enum class priority : std::int32_t {
    real_time = UFR_CLASS_REAL_TIME,
    high = UFR_CLASS_HIGH,
    normal = UFR_CLASS_NORMAL,
    low = UFR_CLASS_LOW,
    bulk = UFR_CLASS_BULK,
};

// How many handles a side of a ring has.
enum class sharing : std::int32_t { shared = UFR_SIDE_SHARED, exclusive = UFR_SIDE_EXCLUSIVE };

// What becomes of messages that a consumer held when it died.
enum class redelivery : std::int32_t {
    redeliver = UFR_REDELIVERY_REDELIVER,
    discard = UFR_REDELIVERY_DISCARD,
};

// When the memory of large messages is taken.
enum class side_memory : std::int32_t {
    on_demand = UFR_SIDE_MEMORY_ON_DEMAND,
    preallocated = UFR_SIDE_MEMORY_PREALLOCATED,
    overcommitted = UFR_SIDE_MEMORY_OVERCOMMITTED,
};

// Whom a ring lets in.
enum class trust : std::int32_t {
    own_user = UFR_TRUST_OWN_USER,
    group = UFR_TRUST_GROUP,
    anyone = UFR_TRUST_ANYONE,
};

// How a handle waits.
enum class wait : std::int32_t {
    spin = UFR_WAIT_SPIN,
    spin_then_yield = UFR_WAIT_SPIN_THEN_YIELD,
    spin_then_park = UFR_WAIT_SPIN_THEN_PARK,
    park = UFR_WAIT_PARK,
};

// A side of a ring.
enum class side : std::int32_t { producers = UFR_PRODUCERS, consumers = UFR_CONSUMERS };

using received = ufr_received;
using stats = ufr_stats;
using latencies = ufr_latencies;
using group_info = ufr_group_info;
using lane_info = ufr_lane_info;

// Besides the codes of C: a message had another size than the value that was asked for.
inline constexpr int wrong_size = -1000;

// The library's version.
inline const char *version() noexcept { return ufr_version(); }

} // namespace ufr

#endif // ULTRAFASTRING_WORDS_HPP
