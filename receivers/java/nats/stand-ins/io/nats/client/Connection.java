package io.nats.client;

import io.nats.client.impl.Headers;
import java.time.Duration;

public interface Connection {
    Dispatcher createDispatcher();

    void publish(String subject, byte[] body);

    void publish(String subject, Headers headers, byte[] body);

    Message request(String subject, Headers headers, byte[] body, Duration timeout) throws InterruptedException;
}
