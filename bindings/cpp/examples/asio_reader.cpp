// Reads market data in an event loop of asio, beside a timer. (Asio from libasio-dev; with Boost's it
// is boost::asio.)
//
//     c++ -std=c++17 asio_reader.cpp $(pkg-config --cflags --libs ultrafastring) -pthread -o asio_reader
#include <asio.hpp>
#include <chrono>
#include <iostream>
#include <ultrafastring.hpp>

#include "market_data.hpp"

class reader {
  public:
    reader(asio::io_context &loop, ufr::consumer consumer)
        : consumer_(std::move(consumer)), ready_(loop, consumer_.fd().value()), timer_(loop) {}
    // The descriptor is the consumer's to close.
    ~reader() { ready_.release(); }

    void start() {
        tick();
        read();
    }

  private:
    // Takes all that is there, and comes again when the descriptor tells of more.
    void read() {
        for (;;) {
            auto next = consumer_.try_recv_value<quote>();
            if (next) {
                last_ = next->number;
                read_++;
                continue;
            }
            // Arming says whether something came meanwhile, or the stream has ended.
            auto more = next.is_empty() ? consumer_.arm() : ufr::result<bool>(next.error());
            if (more.is_end()) {
                std::cout << read_ << " quotes\n";
                timer_.cancel();
                return;
            }
            if (!more.value()) {
                break;
            }
        }
        ready_.async_wait(asio::posix::stream_descriptor::wait_read, [this](asio::error_code failed) {
            if (!failed) {
                read();
            }
        });
    }

    void tick() {
        timer_.expires_after(std::chrono::milliseconds(100));
        timer_.async_wait([this](asio::error_code cancelled) {
            if (!cancelled) {
                std::cerr << "at quote " << last_ << '\n';
                tick();
            }
        });
    }

    ufr::consumer consumer_;
    asio::posix::stream_descriptor ready_;
    asio::steady_timer timer_;
    std::uint64_t read_ = 0, last_ = 0;
};

int main(int argc, char **argv) try {
    const auto ring = ufr::ring::open_or_create(argc > 1 ? argv[1] : "market-data").value();
    asio::io_context loop;
    reader reader(loop, ring.consumer().value());
    reader.start();
    loop.run();
    return 0;
} catch (const std::exception &error) {
    std::cerr << "asio_reader: " << error.what() << '\n';
    return 1;
}
