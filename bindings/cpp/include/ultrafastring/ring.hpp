// The ring: making and opening it, its handles, its groups.

#ifndef ULTRAFASTRING_RING_HPP
#define ULTRAFASTRING_RING_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "consumer.hpp"
#include "producer.hpp"

namespace ufr {

// A ring that this process has open: see ufr_ring. Its handles may outlive it.
class ring {
  public:
    static result<ring> create(const std::string &name, const settings &chosen = {}) noexcept {
        const ufr_settings raw = chosen.raw();
        ufr_ring *made = nullptr;
        return given(ufr_ring_create(name.c_str(), &raw, &made), made);
    }
    static result<ring> open(const std::string &name, const settings &chosen = {}) noexcept {
        const ufr_settings raw = chosen.raw();
        ufr_ring *made = nullptr;
        return given(ufr_ring_open_with(name.c_str(), &raw, &made), made);
    }
    static result<ring> open_or_create(const std::string &name,
                                       const settings &chosen = {}) noexcept {
        const ufr_settings raw = chosen.raw();
        ufr_ring *made = nullptr;
        return given(ufr_ring_open_or_create(name.c_str(), &raw, &made), made);
    }
    // For threads of this process.
    static result<ring> heap(const settings &chosen = {}) noexcept {
        const ufr_settings raw = chosen.raw();
        ufr_ring *made = nullptr;
        return given(ufr_ring_heap(&raw, &made), made);
    }
    // For processes to which it is handed over a Unix socket.
    static result<ring> anonymous(const settings &chosen = {}) noexcept {
        const ufr_settings raw = chosen.raw();
        ufr_ring *made = nullptr;
        return given(ufr_ring_anonymous(&raw, &made), made);
    }
    static result<ring> take_from(int socket, const settings &chosen = {}) noexcept {
        const ufr_settings raw = chosen.raw();
        ufr_ring *made = nullptr;
        return given(ufr_ring_take_from(socket, &raw, &made), made);
    }
    result<void> hand_to(int socket) const noexcept {
        return detail::done(ufr_ring_hand_to(get(), socket));
    }
    static result<void> remove(const std::string &name, const settings &chosen = {}) noexcept {
        const ufr_settings raw = chosen.raw();
        return detail::done(ufr_ring_remove_with(name.c_str(), &raw));
    }

    result<ufr::producer> producer() const noexcept {
        ufr_producer *made = nullptr;
        const int code = ufr_producer_new(get(), &made);
        return code == UFR_OK ? result<ufr::producer>(ufr::producer(made))
                              : result<ufr::producer>(failure(code));
    }
    result<ufr::producer> producer_unless_closed() const noexcept {
        ufr_producer *made = nullptr;
        const int code = ufr_producer_new_unless_closed(get(), &made);
        return code == UFR_OK ? result<ufr::producer>(ufr::producer(made))
                              : result<ufr::producer>(failure(code));
    }
    result<ufr::consumer> consumer() const noexcept {
        ufr_consumer *made = nullptr;
        const int code = ufr_consumer_new(get(), &made);
        return code == UFR_OK ? result<ufr::consumer>(ufr::consumer(made))
                              : result<ufr::consumer>(failure(code));
    }

    // Of a group, which is made if it is not there: see ufr_consumer_join. Null chooses nothing.
    result<ufr::consumer> join(const std::string &group, const ufr_join *how = nullptr) const noexcept {
        ufr_consumer *made = nullptr;
        const int code = ufr_consumer_join(get(), group.c_str(), how, &made);
        return code == UFR_OK ? result<ufr::consumer>(ufr::consumer(made))
                              : result<ufr::consumer>(failure(code));
    }
    // The groups of the ring, whether producers wait for them, and how far behind they are.
    std::vector<group_info> groups() const {
        return detail::listed<group_info>(get(), ufr_ring_groups);
    }
    // The lanes of the ring, its queues: one of a plain ring.
    std::vector<lane_info> lanes() const {
        return detail::listed<lane_info>(get(), ufr_ring_lanes);
    }
    result<void> remove_group(const std::string &group) const noexcept {
        return detail::done(ufr_ring_remove_group(get(), group.c_str()));
    }

    // Ends the stream.
    result<void> close() const noexcept { return detail::done(ufr_close(get())); }
    result<void> reopen() const noexcept { return detail::done(ufr_ring_reopen(get())); }
    bool is_closed() const noexcept { return ufr_ring_is_closed(get()) == 1; }

    std::size_t size() const noexcept { return detail::number(ufr_ring_len(get())); }
    std::size_t living(side of) const noexcept {
        return detail::number(ufr_ring_living(get(), static_cast<std::int32_t>(of)));
    }
    ufr::stats stats() const noexcept {
        ufr::stats counted = {};
        ufr_ring_stats(get(), &counted);
        return counted;
    }
    // How many messages came after a younger one: see consumer::in_time_order.
    std::size_t late() const noexcept { return detail::number(ufr_ring_late(get())); }
    // How long messages took, by class and all together: of a group, or of all. A ring that was made
    // without histograms has none.
    result<ufr::latencies> latencies(const char *group = nullptr) const noexcept {
        ufr::latencies told;
        ufr_latencies_init(&told);
        const int code = ufr_ring_latencies(get(), group, &told);
        return code == UFR_OK ? result<ufr::latencies>(told) : result<ufr::latencies>(failure(code));
    }
    // What it was made with.
    ufr_settings made_with() const noexcept {
        ufr_settings with;
        ufr_settings_init(&with);
        ufr_ring_settings(get(), &with);
        return with;
    }

    // The ring of C, which stays this one's.
    ufr_ring *get() const noexcept { return raw_.get(); }
    ufr_ring *release() noexcept { return raw_.release(); }
    explicit ring(ufr_ring *raw) noexcept : raw_(raw) {}

  private:
    // By reference: it is read after the call that gives the code.
    static result<ring> given(int code, ufr_ring *const &made) noexcept {
        return code == UFR_OK ? result<ring>(ring(made)) : result<ring>(failure(code));
    }
    detail::owner<ufr_ring, ufr_ring_free> raw_;
};

} // namespace ufr

#endif // ULTRAFASTRING_RING_HPP
