// Those who take no part: tail readers and observers.

#ifndef ULTRAFASTRING_READERS_HPP
#define ULTRAFASTRING_READERS_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "result.hpp"
#include "settings.hpp"
#include "span.hpp"

namespace ufr {

// Where a tail reader starts.
enum class start : std::int32_t { latest = UFR_START_LATEST, oldest = UFR_START_OLDEST };

// A reader of a ring's messages that takes no part in it: see ufr_tail. What it gives is a copy, which
// stays until the next call on it. After a failure that is_missed(), go on: missed() says how many.
class tail {
  public:
    static result<tail> open(const std::string &name, const settings &chosen = {},
                             start where = start::latest) noexcept {
        return opened(name, chosen, static_cast<std::int32_t>(where), 0);
    }
    // The position is that of a message, plus one to go on after it.
    static result<tail> open_at(const std::string &name, std::uint64_t position,
                                const settings &chosen = {}) noexcept {
        return opened(name, chosen, UFR_START_POSITION, position);
    }

    // Waits while there is none.
    result<bytes> next(received *about = nullptr) & noexcept { return read(about, ufr_tail_next); }
    result<bytes> try_next(received *about = nullptr) & noexcept {
        return read(about, ufr_tail_try_next);
    }
    result<bytes> next_for(patience time, received *about = nullptr) & noexcept {
        return read(about, [time](ufr_tail *of, const void **data, received *said) {
            return ufr_tail_next_timeout(of, data, said, time.ns());
        });
    }
    // The newest that is there; never waits.
    result<bytes> latest(received *about = nullptr) & noexcept {
        return read(about, ufr_tail_latest);
    }

    std::uint64_t position() const noexcept {
        std::uint64_t position = 0;
        ufr_tail_progress(get(), &position, nullptr);
        return position;
    }
    std::uint64_t missed() const noexcept {
        std::uint64_t missed = 0;
        ufr_tail_progress(get(), nullptr, &missed);
        return missed;
    }
    // The lane of the message that was read last, from 0; the position is of that lane.
    std::size_t lane() const noexcept { return detail::number(ufr_tail_lane(get())); }
    // How long it sleeps between two looks.
    result<void> poll_every(patience time) noexcept {
        return detail::done(ufr_tail_set_poll(get(), time.ns()));
    }

    // The reader of C, which stays this one's.
    ufr_tail *get() const noexcept { return raw_.get(); }
    ufr_tail *release() noexcept { return raw_.release(); }
    explicit tail(ufr_tail *raw) noexcept : raw_(raw) {}

  private:
    static result<tail> opened(const std::string &name, const settings &chosen, std::int32_t where,
                               std::uint64_t position) noexcept {
        const ufr_settings raw = chosen.raw();
        ufr_tail *made = nullptr;
        const int code = ufr_tail_open(name.c_str(), &raw, where, position, &made);
        return code == UFR_OK ? result<tail>(tail(made)) : result<tail>(failure(code));
    }
    template <class F> result<bytes> read(received *about, F call) noexcept {
        const void *data = nullptr;
        const std::ptrdiff_t size = call(get(), &data, about);
        if (size < 0) {
            return failure(static_cast<int>(size));
        }
        return bytes(static_cast<const std::byte *>(data), static_cast<std::size_t>(size));
    }
    detail::owner<ufr_tail, ufr_tail_free> raw_;
};

// A ring that is only looked at: see ufr_observer. It needs the right to read the ring's file, and
// those who use the ring notice nothing.
class observer {
  public:
    static result<observer> open(const std::string &name, const settings &chosen = {}) noexcept {
        const ufr_settings raw = chosen.raw();
        ufr_observer *made = nullptr;
        const int code = ufr_observer_open(name.c_str(), &raw, &made);
        return code == UFR_OK ? result<observer>(observer(made)) : result<observer>(failure(code));
    }

    std::size_t size() const noexcept { return detail::number(ufr_observer_len(get())); }
    std::size_t living(side of) const noexcept {
        return detail::number(ufr_observer_living(get(), static_cast<std::int32_t>(of)));
    }
    ufr::stats stats() const noexcept {
        ufr::stats counted = {};
        ufr_observer_stats(get(), &counted);
        return counted;
    }
    // How many messages came after a younger one: see consumer::in_time_order.
    std::size_t late() const noexcept { return detail::number(ufr_observer_late(get())); }
    // How long messages took, by class and all together: of a group, or of all. A ring that was made
    // without histograms has none.
    result<ufr::latencies> latencies(const char *group = nullptr) const noexcept {
        ufr::latencies told;
        ufr_latencies_init(&told);
        const int code = ufr_observer_latencies(get(), group, &told);
        return code == UFR_OK ? result<ufr::latencies>(told) : result<ufr::latencies>(failure(code));
    }
    ufr_settings made_with() const noexcept {
        ufr_settings with;
        ufr_settings_init(&with);
        ufr_observer_settings(get(), &with);
        return with;
    }
    std::vector<group_info> groups() const {
        return detail::listed<group_info>(get(), ufr_observer_groups);
    }
    // The lanes of the ring, its queues: one of a plain ring.
    std::vector<lane_info> lanes() const {
        return detail::listed<lane_info>(get(), ufr_observer_lanes);
    }
    // Whether the ring's file was truncated or wiped out.
    bool is_damaged() const noexcept { return ufr_observer_is_damaged(get()) == 1; }

    // The observer of C, which stays this one's.
    ufr_observer *get() const noexcept { return raw_.get(); }
    ufr_observer *release() noexcept { return raw_.release(); }
    explicit observer(ufr_observer *raw) noexcept : raw_(raw) {}

  private:
    detail::owner<ufr_observer, ufr_observer_free> raw_;
};

} // namespace ufr

#endif // ULTRAFASTRING_READERS_HPP
