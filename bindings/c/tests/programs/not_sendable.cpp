// Does not compile: a text has a pointer, which means nothing in another process.

#include <string>
#include <ultrafastring.hpp>

int main() {
    auto producer = ufr::ring::heap().value().producer().value();
    producer.send_value(std::string("text")).value();
}
