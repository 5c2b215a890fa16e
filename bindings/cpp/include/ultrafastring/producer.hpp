// The handle that sends.

#ifndef ULTRAFASTRING_PRODUCER_HPP
#define ULTRAFASTRING_PRODUCER_HPP

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "result.hpp"
#include "settings.hpp"
#include "span.hpp"

namespace ufr {

// A message that is written where it will lie. Goes before its producer does; a place that is not
// committed is given up.
class place {
  public:
    place(place &&other) noexcept
        : of_(std::exchange(other.of_, nullptr)), data_(std::exchange(other.data_, {})) {}
    place &operator=(place &&) = delete;
    place(const place &) = delete;
    place &operator=(const place &) = delete;
    ~place() {
        if (of_ != nullptr) {
            ufr_cancel(of_);
        }
    }

    // What is to be written. It holds what an earlier message left there.
    buffer data() const noexcept { return data_; }
    std::size_t size() const noexcept { return data_.size(); }

    // Sends the message, or its first `size` bytes.
    result<void> commit() noexcept { return commit(data_.size()); }
    result<void> commit(std::size_t size) noexcept {
        const int code = ufr_commit(of_, size);
        if (code == UFR_OK) {
            of_ = nullptr;
        }
        return detail::done(code);
    }

  private:
    friend class producer;
    place(ufr_producer *of, buffer data) noexcept : of_(of), data_(data) {}
    ufr_producer *of_;
    buffer data_;
};

// A handle that sends: see ufr_producer.
class producer {
  public:
    // Waits while there is no room.
    result<void> send(bytes data, priority of = priority::normal) noexcept {
        return detail::done(ufr_send(get(), data.data(), data.size(), number(of)));
    }
    result<void> send(std::string_view text, priority of = priority::normal) noexcept {
        return send(bytes_of(text), of);
    }
    // Never waits.
    result<void> try_send(bytes data, priority of = priority::normal) noexcept {
        return detail::done(ufr_try_send(get(), data.data(), data.size(), number(of)));
    }
    result<void> try_send(std::string_view text, priority of = priority::normal) noexcept {
        return try_send(bytes_of(text), of);
    }
    // Waits for so long.
    result<void> send_for(patience time, bytes data, priority of = priority::normal) noexcept {
        return detail::done(
            ufr_send_timeout(get(), data.data(), data.size(), number(of), time.ns()));
    }
    result<void> send_for(patience time, std::string_view text,
                          priority of = priority::normal) noexcept {
        return send_for(time, bytes_of(text), of);
    }

    // A value as it lies in memory. Waits while there is no room.
    template <class T> result<void> send_value(const T &value, priority of = priority::normal) noexcept {
        return send(bytes_of(value), of);
    }
    template <class T>
    result<void> try_send_value(const T &value, priority of = priority::normal) noexcept {
        return try_send(bytes_of(value), of);
    }

    // Several in order. `sent`, if not null, says how many.
    result<void> send_many(span<const ufr_bytes> messages, priority of = priority::normal,
                           std::size_t *sent = nullptr) noexcept {
        return detail::done(
            ufr_send_many(get(), messages.data(), messages.size(), number(of), sent));
    }
    // As many as there is room for.
    result<std::size_t> try_send_many(span<const ufr_bytes> messages,
                                      priority of = priority::normal) noexcept {
        std::size_t sent = 0;
        const int code =
            ufr_try_send_many(get(), messages.data(), messages.size(), number(of), &sent);
        return code == UFR_OK ? result<std::size_t>(sent) : result<std::size_t>(failure(code));
    }

    // Room for a message that is written in place. Waits while there is none.
    result<place> reserve(std::size_t size, priority of = priority::normal) & noexcept {
        void *data = nullptr;
        return placed(ufr_reserve(get(), size, number(of), &data), data, size);
    }
    result<place> try_reserve(std::size_t size, priority of = priority::normal) & noexcept {
        void *data = nullptr;
        return placed(ufr_try_reserve(get(), size, number(of), &data), data, size);
    }
    result<place> reserve_for(patience time, std::size_t size,
                              priority of = priority::normal) & noexcept {
        void *data = nullptr;
        return placed(ufr_reserve_timeout(get(), size, number(of), &data, time.ns()), data,
                      size);
    }

    // Ends the stream.
    result<void> close() noexcept { return detail::done(ufr_producer_close(get())); }
    result<void> flush() noexcept { return detail::done(ufr_producer_flush(get())); }
    result<void> wait_by(wait how) noexcept {
        return detail::done(ufr_producer_set_wait(get(), static_cast<std::int32_t>(how)));
    }
    result<void> end_when_deserted(bool ends = true) noexcept {
        return detail::done(ufr_producer_end_when_deserted(get(), ends));
    }
    result<bool> is_deserted() noexcept { return detail::flag(ufr_producer_is_deserted(get())); }

    // For event loops: see ufr_producer_fd and ufr_producer_arm. True: there is room already.
    result<int> fd() noexcept {
        const int fd = ufr_producer_fd(get());
        return fd < 0 ? result<int>(failure(fd)) : result<int>(fd);
    }
    result<bool> arm(priority of = priority::normal) noexcept {
        return detail::flag(ufr_producer_arm(get(), number(of)));
    }

    // The handle of C, which stays this one's.
    ufr_producer *get() const noexcept { return raw_.get(); }
    ufr_producer *release() noexcept { return raw_.release(); }
    explicit producer(ufr_producer *raw) noexcept : raw_(raw) {}

  private:
    static std::int32_t number(priority of) noexcept { return static_cast<std::int32_t>(of); }
    // By reference: it is read after the call that gives the code.
    result<place> placed(int code, void *const &data, std::size_t size) noexcept {
        if (code != UFR_OK) {
            return failure(code);
        }
        return place(get(), buffer(static_cast<std::byte *>(data), size));
    }
    detail::owner<ufr_producer, ufr_producer_free> raw_;
};

} // namespace ufr

#endif // ULTRAFASTRING_PRODUCER_HPP
