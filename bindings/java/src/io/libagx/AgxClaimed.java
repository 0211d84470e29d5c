package io.libagx;

import java.util.List;

/**
 * Events that were taken over.
 *
 * @param cursor where to go on; "0-0" if it has come to the end
 * @param events the events; there may be none
 */
public record AgxClaimed(String cursor, List<AgxEvent> events) {}
