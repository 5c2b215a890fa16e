// A publisher of market data: quotes as they lie in memory, urgent trades before a full ring of
// quotes, and none that waits for a slow reader.
//
//     c++ -std=c++17 market_data.cpp $(pkg-config --cflags --libs ultrafastring) -o market_data
#include <cstdlib>
#include <iostream>
#include <ultrafastring.hpp>

#include "market_data.hpp"

int main(int argc, char **argv) try {
    const char *const name = argc > 1 ? argv[1] : "market-data";
    const std::uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1000;
    const auto chosen = ufr::settings()
                            .capacity(1024)
                            .exclusive_producer()
                            .reserve(ufr::priority::high, 64)
                            .participant_name("market data")
                            .accept_existing(); // as the reader makes it, if it is first
    const auto ring = ufr::ring::open_or_create(name, chosen).value();
    auto producer = ring.producer().value();
    std::uint64_t dropped = 0;
    for (std::uint64_t number = 0; number < count; number++) {
        quote next = {"AAPL", 10'000, 10'001, 100, 200, number};
        if (number % 100 == 99) {
            // A trade: there is room that quotes cannot take, and it waits if there is none.
            producer.send_value(next, ufr::priority::high).value();
        } else if (auto sent = producer.try_send_value(next); sent.is_full()) {
            dropped++; // the next quote replaces it
        } else {
            sent.value(); // anything else is an error
        }
    }
    producer.close().value();
    std::cout << count << " quotes, " << dropped << " dropped\n";
    return 0;
} catch (const ufr::error &error) {
    std::cerr << "market_data: " << error.what() << '\n';
    return 1;
}
