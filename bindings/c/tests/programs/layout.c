// Writes the size of each structure, and where each field of it is: see `acceptance/abi.rs`.

#include <stdio.h>
#include <ultrafastring_more.h>

#define STRUCTURE(name) printf("structure %s %zu\n", #name, sizeof(name))
#define FIELD(name, field) printf("field %s.%s %zu\n", #name, #field, offsetof(name, field))

int main(void) {
    STRUCTURE(ufr_settings);
    FIELD(ufr_settings, size);
    FIELD(ufr_settings, capacity);
    FIELD(ufr_settings, participants);
    FIELD(ufr_settings, max_message);
    FIELD(ufr_settings, credit_limit);
    FIELD(ufr_settings, reserves);
    FIELD(ufr_settings, directory);
    FIELD(ufr_settings, participant_name);
    FIELD(ufr_settings, producer_side);
    FIELD(ufr_settings, consumer_side);
    FIELD(ufr_settings, timestamps);
    FIELD(ufr_settings, redelivery);
    FIELD(ufr_settings, side_memory);
    FIELD(ufr_settings, trust);
    FIELD(ufr_settings, accept_existing);
    FIELD(ufr_settings, huge_pages);
    FIELD(ufr_settings, fences);
    FIELD(ufr_settings, joinable);
    STRUCTURE(ufr_received);
    FIELD(ufr_received, size);
    FIELD(ufr_received, position);
    FIELD(ufr_received, timestamp);
    FIELD(ufr_received, latency);
    FIELD(ufr_received, priority_class);
    FIELD(ufr_received, redelivered);
    STRUCTURE(ufr_bytes);
    FIELD(ufr_bytes, data);
    FIELD(ufr_bytes, size);
    STRUCTURE(ufr_buffer);
    FIELD(ufr_buffer, data);
    FIELD(ufr_buffer, capacity);
    STRUCTURE(ufr_message);
    FIELD(ufr_message, data);
    FIELD(ufr_message, about);
    STRUCTURE(ufr_join);
    FIELD(ufr_join, size);
    FIELD(ufr_join, position);
    FIELD(ufr_join, evict_after_ns);
    FIELD(ufr_join, start);
    FIELD(ufr_join, keeps);
    FIELD(ufr_join, sharing);
    FIELD(ufr_join, reserved);
    STRUCTURE(ufr_group_info);
    FIELD(ufr_group_info, name);
    FIELD(ufr_group_info, consumer_head);
    FIELD(ufr_group_info, consumer_tail);
    FIELD(ufr_group_info, lag);
    FIELD(ufr_group_info, members);
    FIELD(ufr_group_info, evict_after_ns);
    FIELD(ufr_group_info, state);
    FIELD(ufr_group_info, keeps);
    FIELD(ufr_group_info, sharing);
    FIELD(ufr_group_info, reserved);
    STRUCTURE(ufr_class_stats);
    FIELD(ufr_class_stats, sent);
    FIELD(ufr_class_stats, sent_bytes);
    FIELD(ufr_class_stats, received);
    FIELD(ufr_class_stats, received_bytes);
    FIELD(ufr_class_stats, latency_sum);
    FIELD(ufr_class_stats, latency_count);
    FIELD(ufr_class_stats, latency_max);
    STRUCTURE(ufr_stats);
    FIELD(ufr_stats, sent);
    FIELD(ufr_stats, received);
    FIELD(ufr_stats, avg_latency);
    FIELD(ufr_stats, abandoned);
    FIELD(ufr_stats, redelivered);
    FIELD(ufr_stats, discarded);
    FIELD(ufr_stats, credits_spent);
    FIELD(ufr_stats, credit_limit);
    FIELD(ufr_stats, under_pressure);
    FIELD(ufr_stats, classes);
    STRUCTURE(ufr_latency);
    FIELD(ufr_latency, count);
    FIELD(ufr_latency, mean_ns);
    FIELD(ufr_latency, p50_ns);
    FIELD(ufr_latency, p90_ns);
    FIELD(ufr_latency, p99_ns);
    FIELD(ufr_latency, p999_ns);
    FIELD(ufr_latency, max_ns);
    STRUCTURE(ufr_latencies);
    FIELD(ufr_latencies, size);
    FIELD(ufr_latencies, all);
    FIELD(ufr_latencies, classes);
    return 0;
}
