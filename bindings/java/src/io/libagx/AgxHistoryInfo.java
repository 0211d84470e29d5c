package io.libagx;

import java.time.Duration;

/**
 * How much there is of a session.
 *
 * @param length how many events the store has
 * @param firstId of the oldest event that is there; "" if none is
 * @param lastId of the newest event that is there; "" if none is
 * @param lastGeneratedId the highest id ever given out; "" if there is no stream
 * @param live whether the session is live
 * @param expiresIn until the events go; null if they stay
 * @param groups consumer groups; -1 where the store's user may not ask
 */
public record AgxHistoryInfo(long length, String firstId, String lastId, String lastGeneratedId,
    boolean live, Duration expiresIn, long groups) {}
