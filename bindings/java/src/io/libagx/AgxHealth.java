package io.libagx;

import java.time.Duration;

/**
 * How a group is doing.
 *
 * @param length how many events the stream has
 * @param pending how many were given to a consumer and not acknowledged
 * @param lag how many were given to nobody yet; -1: not known
 * @param consumers how many the group has
 * @param deadLetters how many there are
 * @param oldestPending how long ago the oldest event that is pending was written, by this machine's clock; null: none is pending
 * @param lastDeliveredId "0-0" before the first
 */
public record AgxHealth(long length, long pending, long lag, long consumers, long deadLetters,
    Duration oldestPending, String lastDeliveredId) {}
