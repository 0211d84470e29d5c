package io.libagx;

/**
 * A consumer group of a session.
 *
 * @param name its name
 * @param consumers how many it has
 * @param pending how many events are pending in it
 * @param lastDeliveredId of the last event that was given out; "0-0" before the first
 * @param lag how many events were given to nobody yet; -1: not known
 */
public record AgxGroupInfo(
    String name, long consumers, long pending, String lastDeliveredId, long lag) {}
