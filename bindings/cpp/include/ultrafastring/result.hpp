// A value, or why there is none; and who owns a thing of C's.

#ifndef ULTRAFASTRING_RESULT_HPP
#define ULTRAFASTRING_RESULT_HPP

#include <cstddef>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "words.hpp"

namespace ufr {

// What `.value()` throws.
class error : public std::runtime_error {
  public:
    error(int code, const std::string &text) : std::runtime_error(text), code_(code) {}
    // `UFR_ERR_...`, or ufr::wrong_size.
    int code() const noexcept { return code_; }

  private:
    int code_;
};

// Why there is no value.
class failure {
  public:
    explicit failure(int code) noexcept : code_(code) {}

    // `UFR_ERR_...`, or ufr::wrong_size.
    int code() const noexcept { return code_; }
    // Nothing to receive at this moment.
    bool is_empty() const noexcept { return code_ == UFR_ERR_EMPTY; }
    // No room at this moment.
    bool is_full() const noexcept {
        return code_ == UFR_ERR_FULL || code_ == UFR_ERR_OUT_OF_CREDIT;
    }
    bool is_timeout() const noexcept { return code_ == UFR_ERR_TIMED_OUT; }
    // Messages were missed, by a group that was evicted or a tail reader: go on.
    bool is_missed() const noexcept {
        return code_ == UFR_ERR_EVICTED || code_ == UFR_ERR_OVERRUN;
    }
    // The stream has ended: the ring is closed, or the last peer has left.
    bool is_end() const noexcept { return code_ == UFR_ERR_CLOSED || code_ == UFR_ERR_DESERTED; }

    // What the code means, in a few words.
    const char *what() const noexcept {
        return code_ == wrong_size ? "the message has another size than the value"
                                   : ufr_strerror(code_);
    }
    // What went wrong, and what to do, if this thread's last failure was this one.
    std::string text() const {
        const char *last = ufr_last_error();
        const bool told = !is_empty() && !is_full() && code_ != wrong_size && *last != '\0';
        return told ? last : what();
    }

    [[noreturn]] void raise() const {
#if defined(__cpp_exceptions)
        throw error(code_, text());
#else
        std::abort();
#endif
    }

  private:
    int code_;
};

// A value, or why there is none. As std::expected<T, failure>.
template <class T> class [[nodiscard]] result {
  public:
    using value_type = T;

    result(T value) noexcept(std::is_nothrow_move_constructible_v<T>) : has_(true) {
        new (&value_) T(std::move(value));
    }
    result(failure why) noexcept : why_(why), has_(false) {}
    result(result &&other) noexcept(std::is_nothrow_move_constructible_v<T>) : has_(other.has_) {
        if (has_) {
            new (&value_) T(std::move(other.value_));
        } else {
            new (&why_) failure(other.why_);
        }
    }
    result &operator=(result &&other) noexcept {
        static_assert(std::is_nothrow_move_constructible_v<T>, "one of the two would be lost");
        if (this != &other) {
            this->~result();
            new (this) result(std::move(other));
        }
        return *this;
    }
    result(const result &) = delete;
    result &operator=(const result &) = delete;
    ~result() {
        if (has_) {
            value_.~T();
        }
    }

    explicit operator bool() const noexcept { return has_; }
    bool has_value() const noexcept { return has_; }

    // These are for who has looked.
    T &operator*() & noexcept { return value_; }
    const T &operator*() const & noexcept { return value_; }
    T &&operator*() && noexcept { return std::move(value_); }
    T *operator->() noexcept { return &value_; }
    const T *operator->() const noexcept { return &value_; }
    ufr::failure error() const noexcept { return has_ ? ufr::failure(UFR_OK) : why_; }

    // The value, or an exception. (Built without exceptions: the end of the program.)
    T &value() & {
        if (!has_) {
            why_.raise();
        }
        return value_;
    }
    const T &value() const & {
        if (!has_) {
            why_.raise();
        }
        return value_;
    }
    // Not a reference: a loop over `consumer.borrow_many(records).value()` has its result gone.
    T value() && {
        if (!has_) {
            why_.raise();
        }
        return std::move(value_);
    }

    // What `error()` says, directly.
    int code() const noexcept { return error().code(); }
    bool is_empty() const noexcept { return error().is_empty(); }
    bool is_full() const noexcept { return error().is_full(); }
    bool is_timeout() const noexcept { return error().is_timeout(); }
    bool is_missed() const noexcept { return error().is_missed(); }
    bool is_end() const noexcept { return error().is_end(); }

  private:
    union {
        T value_;
        failure why_;
    };
    bool has_;
};

// Done, or why not.
template <> class [[nodiscard]] result<void> {
  public:
    using value_type = void;

    result() noexcept : why_(UFR_OK) {}
    result(failure why) noexcept : why_(why) {}

    explicit operator bool() const noexcept { return why_.code() == UFR_OK; }
    bool has_value() const noexcept { return why_.code() == UFR_OK; }
    failure error() const noexcept { return why_; }
    void value() const {
        if (!has_value()) {
            why_.raise();
        }
    }

    int code() const noexcept { return why_.code(); }
    bool is_empty() const noexcept { return why_.is_empty(); }
    bool is_full() const noexcept { return why_.is_full(); }
    bool is_timeout() const noexcept { return why_.is_timeout(); }
    bool is_missed() const noexcept { return why_.is_missed(); }
    bool is_end() const noexcept { return why_.is_end(); }

  private:
    failure why_;
};

namespace detail {

inline result<void> done(int code) noexcept {
    return code == UFR_OK ? result<void>() : result<void>(failure(code));
}

// A number that is not negative, or a code.
template <class N> result<std::size_t> count(N number) noexcept {
    return number < 0 ? result<std::size_t>(failure(static_cast<int>(number)))
                      : result<std::size_t>(static_cast<std::size_t>(number));
}

// A number that is not negative; 0 for a code.
inline std::size_t number(std::ptrdiff_t count) noexcept {
    return count < 0 ? 0 : static_cast<std::size_t>(count);
}

// All groups, or lanes, that `list` tells of a ring.
template <class I, class T, class F> std::vector<I> listed(const T *of, F list) {
    std::vector<I> all;
    for (std::size_t there = number(list(of, nullptr, 0)); there > all.size();) {
        all.resize(there);
        there = number(list(of, all.data(), all.size()));
        all.resize(there < all.size() ? there : all.size());
    }
    return all;
}

inline result<bool> flag(int number) noexcept {
    return number < 0 ? result<bool>(failure(number)) : result<bool>(number != 0);
}

// Owns one thing of C's.
template <class T, void (*Free)(T *)> class owner {
  public:
    explicit owner(T *raw) noexcept : raw_(raw) {}
    owner(owner &&other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
    owner &operator=(owner &&other) noexcept {
        if (this != &other) {
            Free(std::exchange(raw_, std::exchange(other.raw_, nullptr)));
        }
        return *this;
    }
    owner(const owner &) = delete;
    owner &operator=(const owner &) = delete;
    ~owner() { Free(raw_); }
    T *get() const noexcept { return raw_; }
    T *release() noexcept { return std::exchange(raw_, nullptr); }

  private:
    T *raw_;
};

} // namespace detail

} // namespace ufr

#endif // ULTRAFASTRING_RESULT_HPP
