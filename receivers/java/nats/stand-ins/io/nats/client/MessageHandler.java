package io.nats.client;

public interface MessageHandler {
    void onMessage(Message msg) throws InterruptedException;
}
