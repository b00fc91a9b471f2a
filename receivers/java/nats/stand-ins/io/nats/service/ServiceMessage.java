package io.nats.service;

import io.nats.client.Message;
import io.nats.client.impl.Headers;

public class ServiceMessage {
    private final Message message;

    public ServiceMessage(Message message) {
        this.message = message;
    }

    public String getSubject() {
        return message.getSubject();
    }

    public String getReplyTo() {
        return message.getReplyTo();
    }

    public Headers getHeaders() {
        return message.getHeaders();
    }

    public byte[] getData() {
        return message.getData();
    }
}
