package io.nats.client;

import io.nats.client.impl.Headers;

/** What the adapter and its example use of jnats, for tests on machines that have no jnats. */
public interface Message {
    String getSubject();

    String getReplyTo();

    Headers getHeaders();

    byte[] getData();
}
