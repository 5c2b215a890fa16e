// The handle that receives, and what it gives.

#ifndef ULTRAFASTRING_CONSUMER_HPP
#define ULTRAFASTRING_CONSUMER_HPP

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__has_include)
#if __has_include(<version>)
#include <version>
#endif
#endif
#if defined(__cpp_lib_ranges)
#include <ranges>
#endif

#include "result.hpp"
#include "settings.hpp"
#include "span.hpp"

namespace ufr {

// A message that is read where it lies, as long as it is there: it is released when this goes, and
// delivered to another consumer if this process is killed before. Goes before its consumer does.
// Released, or moved from, it has no bytes.
class message {
  public:
    message(message &&other) noexcept
        : of_(std::exchange(other.of_, nullptr)), raw_(std::exchange(other.raw_, {})) {}
    message &operator=(message &&other) noexcept {
        if (this != &other) {
            release();
            of_ = std::exchange(other.of_, nullptr);
            raw_ = std::exchange(other.raw_, {});
        }
        return *this;
    }
    message(const message &) = delete;
    message &operator=(const message &) = delete;
    ~message() { release(); }

    // More than 40 bytes are in shared memory: copy what you check.
    bytes data() const noexcept { return {static_cast<const std::byte *>(raw_.data), size()}; }
    std::string_view text() const noexcept { return {static_cast<const char *>(raw_.data), size()}; }
    std::size_t size() const noexcept { return raw_.about.size; }
    const received &about() const noexcept { return raw_.about; }
    ufr::priority priority() const noexcept {
        return static_cast<ufr::priority>(raw_.about.priority_class);
    }
    bool redelivered() const noexcept { return raw_.about.redelivered != 0; }
    // Whether it came after a younger one: see consumer::in_time_order.
    bool late() const noexcept { return raw_.about.late != 0; }

    // The message as a value: a copy.
    template <class T> result<T> as() const {
        check_sendable<T>();
        static_assert(std::is_default_constructible_v<T>, "a value must be there to be copied to");
        if (size() != sizeof(T)) {
            return failure(wrong_size);
        }
        T value;
        std::char_traits<char>::copy(reinterpret_cast<char *>(&value),
                                     static_cast<const char *>(raw_.data), sizeof(T));
        return value;
    }

    // Done with it.
    void release() noexcept {
        if (of_ != nullptr) {
            ufr_release(std::exchange(of_, nullptr), 1);
            raw_ = {};
        }
    }

  private:
    friend class consumer;
    message(ufr_consumer *of, const ufr_message &raw) noexcept : of_(of), raw_(raw) {}
    ufr_consumer *of_;
    ufr_message raw_;
};

// Messages that are read where they lie, released one after the other or when this goes, which it does
// before its consumer. The records are the caller's.
class batch {
  public:
    batch(batch &&other) noexcept
        : of_(std::exchange(other.of_, nullptr)), all_(std::exchange(other.all_, {})),
          held_(std::exchange(other.held_, 0)) {}
    batch &operator=(batch &&) = delete;
    batch(const batch &) = delete;
    batch &operator=(const batch &) = delete;
    ~batch() { release(); }

    std::size_t size() const noexcept { return all_.size(); }
    const ufr_message *begin() const noexcept { return all_.begin(); }
    const ufr_message *end() const noexcept { return all_.end(); }
    const ufr_message &operator[](std::size_t at) const { return all_[at]; }

    // Releases the first so many that are not released yet. What was released must not be read.
    result<void> release_first(std::size_t count) noexcept {
        if (held_ == 0) {
            return result<void>();
        }
        const int code = ufr_release(of_, count);
        if (code == UFR_OK) {
            held_ -= count < held_ ? count : held_;
            // What the consumer borrows next is another's.
            of_ = held_ == 0 ? nullptr : of_;
        }
        return detail::done(code);
    }
    void release() noexcept {
        if (of_ != nullptr) {
            ufr_release(std::exchange(of_, nullptr), std::exchange(held_, 0));
        }
    }

  private:
    friend class consumer;
    batch(ufr_consumer *of, span<const ufr_message> all) noexcept
        : of_(of), all_(all), held_(all.size()) {}
    ufr_consumer *of_;
    span<const ufr_message> all_;
    std::size_t held_;
};

class messages;

// A handle that receives: see ufr_consumer.
class consumer {
  public:
    // Into a buffer; the size of the message. Waits while there is none. `about`, if not null, gets
    // what there is to know about it, and the size that is needed if the buffer is too small.
    result<std::size_t> recv(buffer into, received *about = nullptr) noexcept {
        return detail::count(ufr_recv(get(), into.data(), into.size(), about));
    }
    // Never waits.
    result<std::size_t> try_recv(buffer into, received *about = nullptr) noexcept {
        return detail::count(ufr_try_recv(get(), into.data(), into.size(), about));
    }
    // Waits for so long.
    result<std::size_t> recv_for(patience time, buffer into,
                                 received *about = nullptr) noexcept {
        return detail::count(
            ufr_recv_timeout(get(), into.data(), into.size(), about, time.ns()));
    }
    // Of any size: the vector is as long as the message then, or empty after a failure.
    result<std::size_t> recv(std::vector<std::byte> &into, received *about = nullptr) {
        return grown(into, about, ufr_recv);
    }
    result<std::size_t> try_recv(std::vector<std::byte> &into, received *about = nullptr) {
        return grown(into, about, ufr_try_recv);
    }
    result<std::size_t> recv_for(patience time, std::vector<std::byte> &into,
                                 received *about = nullptr) {
        const auto call = [time](ufr_consumer *of, void *data, std::size_t size, received *said) {
            return ufr_recv_timeout(of, data, size, said, time.ns());
        };
        return grown(into, about, call);
    }

    // The next message as a value. A larger one stays in the ring (UFR_ERR_BUFFER_TOO_SMALL); a
    // smaller one is taken and given up: wrong_size.
    template <class T> result<T> recv_value(received *about = nullptr) {
        return valued<T>(about, ufr_recv);
    }
    template <class T> result<T> try_recv_value(received *about = nullptr) {
        return valued<T>(about, ufr_try_recv);
    }

    // Several, one into each buffer; what there is to know about each goes to `about`, which has as
    // many. Waits while there is none.
    result<std::size_t> recv_many(span<ufr_buffer> buffers, span<received> about) noexcept {
        return detail::count(ufr_recv_many(get(), buffers.data(), least(buffers, about), about.data()));
    }
    result<std::size_t> try_recv_many(span<ufr_buffer> buffers, span<received> about) noexcept {
        return detail::count(
            ufr_try_recv_many(get(), buffers.data(), least(buffers, about), about.data()));
    }

    // The next message where it lies. Waits while there is none.
    result<message> borrow() & noexcept { return borrowed(get(), -1); }
    result<message> try_borrow() & noexcept { return borrowed(get(), 0); }
    // Waits for so long.
    result<message> borrow_for(patience time) & noexcept {
        return borrowed(get(), time.ns());
    }
    // As many as there are, and as there are records.
    result<batch> borrow_many(span<ufr_message> records) & noexcept {
        return several(records, ufr_borrow(get(), records.data(), records.size()));
    }
    result<batch> try_borrow_many(span<ufr_message> records) & noexcept {
        return several(records, ufr_try_borrow(get(), records.data(), records.size()));
    }

    // The messages one after the other, each where it lies: see ufr::messages.
    ufr::messages messages() & noexcept;

    result<void> flush() noexcept { return detail::done(ufr_consumer_flush(get())); }
    result<void> wait_by(wait how) noexcept {
        return detail::done(ufr_consumer_set_wait(get(), static_cast<std::int32_t>(how)));
    }
    result<void> end_when_deserted(bool ends = true) noexcept {
        return detail::done(ufr_consumer_end_when_deserted(get(), ends));
    }
    result<bool> is_deserted() noexcept { return detail::flag(ufr_consumer_is_deserted(get())); }
    result<void> await_next_stream() noexcept {
        return detail::done(ufr_consumer_await_next_stream(get()));
    }

    // In a ring with lanes by producer: messages come in the order in which they were sent. Waits so
    // long for lanes that have nothing: see ufr_consumer_in_time_order.
    result<void> in_time_order(patience wait) noexcept {
        return detail::done(ufr_consumer_in_time_order(get(), wait.ns()));
    }
    // How many came later, and after a younger one.
    result<std::size_t> late() noexcept { return detail::count(ufr_consumer_late(get())); }
    // In a ring with lanes by class: one receive in so many takes from the lanes in turn. None: 0.
    result<void> ageing(std::uint32_t one_in) noexcept {
        return detail::done(ufr_consumer_ageing(get(), one_in));
    }

    // For event loops: see ufr_consumer_fd and ufr_consumer_arm. True: there is a message already.
    result<int> fd() noexcept {
        const int fd = ufr_consumer_fd(get());
        return fd < 0 ? result<int>(failure(fd)) : result<int>(fd);
    }
    result<bool> arm() noexcept { return detail::flag(ufr_consumer_arm(get())); }
    result<void> disarm() noexcept { return detail::done(ufr_consumer_disarm(get())); }

    // The handle of C, which stays this one's.
    ufr_consumer *get() const noexcept { return raw_.get(); }
    ufr_consumer *release() noexcept { return raw_.release(); }
    explicit consumer(ufr_consumer *raw) noexcept : raw_(raw) {}

  private:
    friend class messages;
    static std::size_t least(span<ufr_buffer> buffers, span<received> about) noexcept {
        return buffers.size() < about.size() ? buffers.size() : about.size();
    }

    template <class F> result<std::size_t> grown(std::vector<std::byte> &into, received *about, F call) {
        received own;
        received *const said = about != nullptr ? about : &own;
        // A message that comes in a slot always fits.
        into.resize(into.capacity() < 40 ? 40 : into.capacity());
        for (;;) {
            const std::ptrdiff_t size = call(get(), into.data(), into.size(), said);
            if (size == UFR_ERR_BUFFER_TOO_SMALL) {
                into.resize(said->size);
                continue;
            }
            into.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
            return detail::count(size);
        }
    }

    template <class T, class F> result<T> valued(received *about, F call) {
        check_sendable<T>();
        static_assert(std::is_default_constructible_v<T>, "a value must be there to be received to");
        T value;
        const std::ptrdiff_t size = call(get(), &value, sizeof(T), about);
        if (size < 0) {
            return failure(static_cast<int>(size));
        }
        return size == sizeof(T) ? result<T>(value) : result<T>(failure(wrong_size));
    }

    static result<message> borrowed(ufr_consumer *of, std::int64_t timeout_ns) noexcept {
        ufr_message raw;
        const std::ptrdiff_t count = timeout_ns == 0 ? ufr_try_borrow(of, &raw, 1)
                                                     : ufr_borrow_timeout(of, &raw, 1, timeout_ns);
        return count < 0 ? result<message>(failure(static_cast<int>(count)))
                         : result<message>(message(of, raw));
    }

    result<batch> several(span<ufr_message> records, std::ptrdiff_t count) noexcept {
        if (count < 0) {
            return failure(static_cast<int>(count));
        }
        return batch(get(), {records.data(), static_cast<std::size_t>(count)});
    }

    detail::owner<ufr_consumer, ufr_consumer_free> raw_;
};

// The messages of a consumer, one after the other; waits for each. Ends when the stream does: the
// ring is closed, or deserted if that was asked for. Anything else is thrown; built without
// exceptions it ends too, and `error()` says why. A message is released when the next is asked for,
// or the loop is left.
//
// A range of C++20 that is gone through once: `consumer.messages() | std::views::take(10)`.
class messages {
  public:
    class sentinel {};

    class iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = message;
        using difference_type = std::ptrdiff_t;
        using pointer = const message *;
        using reference = const message &;

        iterator() noexcept = default;
        explicit iterator(messages *of) noexcept : of_(of) {}
        const message &operator*() const { return *of_->next(); }
        const message *operator->() const { return &*of_->next(); }
        // Done with the message, which is taken first if it was not looked at. The next is only waited
        // for when it is looked at: a view that takes so many would otherwise take one more, and lose
        // it.
        iterator &operator++() {
            of_->next().reset();
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator &it, sentinel) { return it.at_end(); }
        friend bool operator!=(const iterator &it, sentinel) { return !it.at_end(); }
        friend bool operator==(sentinel, const iterator &it) { return it.at_end(); }
        friend bool operator!=(sentinel, const iterator &it) { return !it.at_end(); }

      private:
        bool at_end() const { return !of_->next().has_value(); }
        messages *of_ = nullptr;
    };

    // Before it is begun. The consumer may be moved at any time, and goes after this.
    messages(messages &&) noexcept = default;
    messages &operator=(messages &&) noexcept = default;

    iterator begin() { return iterator(this); }
    sentinel end() const noexcept { return {}; }

    // Why it ended.
    failure error() const noexcept { return why_; }

  private:
    friend class consumer;
    explicit messages(ufr_consumer *of) noexcept : of_(of) {}

    // The message that is held, or the next; nothing at the end.
    std::optional<message> &next() {
        if (held_) {
            return held_;
        }
        auto got = consumer::borrowed(of_, -1);
        if (got) {
            held_.emplace(std::move(*got));
            return held_;
        }
        why_ = got.error();
#if defined(__cpp_exceptions)
        if (!why_.is_end()) {
            why_.raise();
        }
#endif
        return held_;
    }

    ufr_consumer *of_;
    std::optional<message> held_;
    failure why_{UFR_OK};
};

inline messages consumer::messages() & noexcept { return ufr::messages(get()); }

namespace detail {

inline result<std::size_t> any(span<consumer *const> consumers, std::int64_t timeout_ns) {
    std::vector<ufr_consumer *> raw;
    raw.reserve(consumers.size());
    for (const consumer *one : consumers) {
        raw.push_back(one == nullptr ? nullptr : one->get());
    }
    return count(ufr_wait_any(raw.data(), raw.size(), timeout_ns));
}

} // namespace detail

// Waits until one of several consumers, of any rings, can go on, and says which: see ufr_wait_any.
inline result<std::size_t> wait_any(span<consumer *const> consumers) {
    return detail::any(consumers, -1);
}
// Waits for so long.
inline result<std::size_t> wait_any_for(patience time, span<consumer *const> consumers) {
    return detail::any(consumers, time.ns());
}

} // namespace ufr

#if defined(__cpp_lib_ranges)
// It owns one message at most, and does not copy.
template <> inline constexpr bool std::ranges::enable_view<ufr::messages> = true;
#endif

#endif // ULTRAFASTRING_CONSUMER_HPP
