// How a ring is to be, and how long a call may wait.

#ifndef ULTRAFASTRING_SETTINGS_HPP
#define ULTRAFASTRING_SETTINGS_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "words.hpp"

namespace ufr {

// How long a call may wait: any duration. What is negative is 0, and what is centuries has no end.
class patience {
  public:
    template <class R, class P> patience(std::chrono::duration<R, P> time) noexcept : ns_(-1) {
        const double seconds = std::chrono::duration<double>(time).count();
        if (!(seconds > 0)) {
            ns_ = 0;
        } else if (seconds < 9e9) {
            ns_ = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
        }
    }
    std::int64_t ns() const noexcept { return ns_; }

  private:
    std::int64_t ns_;
};

// How a ring is to be. What is not chosen is as by default in a new ring, and not compared in one
// that is there.
class settings {
  public:
    settings() noexcept { ufr_settings_init(&raw_); }

    settings &capacity(std::size_t slots) { return raw_.capacity = slots, *this; }
    settings &participants(std::size_t handles) { return raw_.participants = handles, *this; }
    settings &max_message(std::size_t size) { return raw_.max_message = size, *this; }
    settings &credit_limit(std::uint64_t messages) { return raw_.credit_limit = messages, *this; }
    settings &reserve(priority of, std::uint64_t credits) {
        return raw_.reserves[static_cast<std::size_t>(of)] = credits, *this;
    }
    settings &producer_side(sharing how) {
        return raw_.producer_side = static_cast<std::int32_t>(how), *this;
    }
    settings &consumer_side(sharing how) {
        return raw_.consumer_side = static_cast<std::int32_t>(how), *this;
    }
    settings &exclusive_producer() { return producer_side(sharing::exclusive); }
    settings &exclusive_consumer() { return consumer_side(sharing::exclusive); }
    settings &timestamps(bool all) {
        return raw_.timestamps = all ? UFR_TIMESTAMPS_EVERY : UFR_TIMESTAMPS_OFF, *this;
    }
    settings &timestamps_one_in(std::int32_t messages) { return raw_.timestamps = messages, *this; }
    settings &one_lane() { return raw_.lanes = UFR_LANES_ONE, *this; }
    // A lane for each class: urgent messages overtake others.
    settings &lanes_by_class() { return raw_.lanes = UFR_LANES_BY_CLASS, *this; }
    // A lane for each of so many producers, 1 to 256: none holds up another.
    settings &lanes_by_producer(std::int32_t producers) {
        // Another number than these is refused when the ring is made, and 0 would be no choice.
        return raw_.lanes = producers > 0 ? producers : INT32_MAX, *this;
    }
    // Of the lane of one class, with lanes by class.
    settings &capacity_of(priority of, std::size_t slots) {
        return raw_.capacity_of[static_cast<std::size_t>(of)] = slots, *this;
    }
    settings &credit_limit_of(priority of, std::uint64_t messages) {
        return raw_.credit_limit_of[static_cast<std::size_t>(of)] = messages, *this;
    }
    settings &max_message_of(priority of, std::size_t size) {
        return raw_.max_message_of[static_cast<std::size_t>(of)] = size, *this;
    }
    // Consumers count how long messages take: see ring::latencies.
    settings &latency_histograms(bool yes = true) { return raw_.latency_histograms = yes, *this; }
    settings &on_death(redelivery what) {
        return raw_.redelivery = static_cast<std::int32_t>(what), *this;
    }
    settings &memory(side_memory when) {
        return raw_.side_memory = static_cast<std::int32_t>(when), *this;
    }
    settings &trusting(trust whom) { return raw_.trust = static_cast<std::int32_t>(whom), *this; }
    settings &accept_existing(bool yes = true) { return raw_.accept_existing = yes, *this; }
    settings &huge_pages(bool yes = true) { return raw_.huge_pages = yes, *this; }
    // Each message goes to one member of every group: see ring::join.
    settings &joinable(bool yes = true) { return raw_.joinable = yes, *this; }
    // Groups that a new ring has, durable and open from the start.
    settings &groups(std::vector<std::string> names) {
        return groups_ = std::make_shared<const names_for_c>(std::move(names)), *this;
    }
    settings &fences(bool yes = true) { return raw_.fences = yes, *this; }
    settings &directory(std::string path) { return directory_ = std::move(path), *this; }
    settings &participant_name(std::string name) { return name_ = std::move(name), *this; }

    // For the functions of C; as long as these settings live and are not changed.
    ufr_settings raw() const noexcept {
        ufr_settings raw = raw_;
        raw.directory = directory_.empty() ? nullptr : directory_.c_str();
        raw.participant_name = name_.empty() ? nullptr : name_.c_str();
        if (groups_ != nullptr) {
            raw.groups = groups_->each.data();
            raw.group_count = groups_->each.size();
        }
        return raw;
    }

  private:
    // Names, and where each is: they stay there when the settings are copied or moved.
    struct names_for_c {
        explicit names_for_c(std::vector<std::string> names) : all(std::move(names)) {
            each.reserve(all.size());
            for (const std::string &name : all) {
                each.push_back(name.c_str());
            }
        }
        const std::vector<std::string> all;
        std::vector<const char *> each;
    };
    ufr_settings raw_;
    std::string directory_;
    std::string name_;
    std::shared_ptr<const names_for_c> groups_;
};

} // namespace ufr

#endif // ULTRAFASTRING_SETTINGS_HPP
