package io.libagx;

/**
 * How much is pending in a group: given to a consumer, and not acknowledged.
 *
 * @param count how many events
 * @param lowestId of the oldest of them; "" if none is
 * @param highestId of the newest
 * @param consumers how many consumers have any
 */
public record AgxPending(long count, String lowestId, String highestId, long consumers) {}
