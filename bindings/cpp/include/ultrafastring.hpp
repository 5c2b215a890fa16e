// UltraFastRing for C++17 and later: handles that move and do not copy, results, typed messages.
//
//     #include <ultrafastring.hpp>
//
//     auto ring = ufr::ring::open_or_create("quotes").value();
//     auto producer = ring.producer().value();
//     producer.send("AAPL 100").value();
//
//     for (const ufr::message &quote : consumer.messages()) {     // in the other process
//         std::cout << quote.text() << '\n';
//     }
//
// Functions that can fail return a ufr::result, as std::expected is. It must be looked at. Without
// exceptions: `if (auto sent = producer.try_send(data)) … else if (sent.is_full()) …`. With them:
// `.value()` throws ufr::error, whose text says what to do.
//
// What each function promises, and which codes it returns, is said in ultrafastring.h and
// ultrafastring_more.h at the function of C that it calls. A handle is used by one thread at a time;
// a ring by any number.

#ifndef ULTRAFASTRING_HPP
#define ULTRAFASTRING_HPP

#include "ultrafastring/words.hpp"
#include "ultrafastring/span.hpp"
#include "ultrafastring/result.hpp"
#include "ultrafastring/settings.hpp"
#include "ultrafastring/producer.hpp"
#include "ultrafastring/consumer.hpp"
#include "ultrafastring/ring.hpp"
#include "ultrafastring/readers.hpp"

#endif // ULTRAFASTRING_HPP
