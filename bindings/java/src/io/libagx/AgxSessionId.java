package io.libagx;

/**
 * What identifies a session.
 *
 * @param scopeId a number of the application's, such as a tenant
 * @param userId a number of the application's
 * @param sessionId any text of up to 512 bytes of UTF-8
 */
public record AgxSessionId(long scopeId, long userId, String sessionId) {}
