// The bytes of messages: a span, and which values can be sent as they lie in memory.

#ifndef ULTRAFASTRING_SPAN_HPP
#define ULTRAFASTRING_SPAN_HPP

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

#if defined(__has_include)
#if __has_include(<version>)
#include <version>
#endif
#endif
#if defined(__cpp_lib_span)
#include <span>
#endif

namespace ufr {

// So many elements in a row that somebody else owns: what std::span is in C++20, with which it
// converts both ways.
template <class T> class span {
  public:
    using element_type = T;
    using value_type = std::remove_cv_t<T>;
    using iterator = T *;

    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <std::size_t N> constexpr span(T (&array)[N]) noexcept : data_(array), size_(N) {}

    // Of anything with data() and size(): a vector, an array, a string, a std::span.
    template <class C, class P = decltype(std::declval<C &>().data()),
              class = std::enable_if_t<!std::is_same_v<std::decay_t<C>, span> &&
                                       std::is_convertible_v<std::remove_pointer_t<P> (*)[], T (*)[]>>>
    constexpr span(C &&range) noexcept : data_(range.data()), size_(range.size()) {}

    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t at) const { return data_[at]; }
    constexpr span first(std::size_t count) const { return {data_, count}; }

#if defined(__cpp_lib_span)
    constexpr operator std::span<T>() const noexcept { return {data_, size_}; }
#endif

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

using bytes = span<const std::byte>;
using buffer = span<std::byte>;

namespace detail {

// Types that are trivially copyable, and only say where something lies.
template <class T>
inline constexpr bool points =
    std::is_pointer_v<T> || std::is_member_pointer_v<T> || std::is_null_pointer_v<T>;
template <class T> inline constexpr bool points<span<T>> = true;
template <class C, class T> inline constexpr bool points<std::basic_string_view<C, T>> = true;
#if defined(__cpp_lib_span)
template <class T, std::size_t N> inline constexpr bool points<std::span<T, N>> = true;
#endif

} // namespace detail

// Whether a message can be a value of this type, as it lies in memory. Pointers inside of a structure
// are not seen.
template <class T>
inline constexpr bool is_sendable = std::is_trivially_copyable_v<T> && !detail::points<T> &&
                                    !std::is_reference_v<T> && !std::is_const_v<T>;

template <class T> constexpr void check_sendable() {
    static_assert(std::is_trivially_copyable_v<T>,
                  "a message must be trivially copyable: another process has none of its pointers");
    static_assert(!detail::points<T>, "a pointer means nothing in another process");
    static_assert(is_sendable<T>, "send a plain type");
}

// The bytes of a value.
template <class T> bytes bytes_of(const T &value) noexcept {
    check_sendable<T>();
    return {reinterpret_cast<const std::byte *>(&value), sizeof(T)};
}

// The bytes of a text.
inline bytes bytes_of(std::string_view text) noexcept {
    return {reinterpret_cast<const std::byte *>(text.data()), text.size()};
}

} // namespace ufr

#endif // ULTRAFASTRING_SPAN_HPP
