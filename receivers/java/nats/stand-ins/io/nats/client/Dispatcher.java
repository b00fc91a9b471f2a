package io.nats.client;

public interface Dispatcher {
    Subscription subscribe(String subject, MessageHandler handler);
}
