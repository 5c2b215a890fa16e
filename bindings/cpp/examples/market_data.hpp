// What market_data.cpp and asio_reader.cpp say to each other.
#pragma once

#include <cstdint>

// A message as it lies in memory: 40 bytes, so that it travels in its slot.
struct quote {
    char symbol[8];
    std::int64_t bid; // in hundredths
    std::int64_t ask;
    std::uint32_t bid_size;
    std::uint32_t ask_size;
    std::uint64_t number;
};
static_assert(sizeof(quote) == 40);
