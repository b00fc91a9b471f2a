package io.nats.client;

public interface Subscription {}
