package example;

import example.stamp.receiver.AnonymousException;
import example.stamp.receiver.Identity;
import example.stamp.receiver.Trust;
import example.stamp.receiver.nats.NatsMessages;
import io.nats.client.Connection;
import io.nats.client.Message;
import io.nats.client.impl.Headers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;

/**
 * Two services. orders takes orders of users. For each it asks stock on behalf of the user, and passes on the proof of the user's
 * request. So stock knows which service asks now, and for which user.
 */
public final class Services {
    private static final Duration TIMEOUT = Duration.ofSeconds(5);
    private final Connection connection;
    private final Trust trust;

    private Services(Connection connection, Trust trust) {
        this.connection = connection;
        this.trust = trust;
    }

    /** Starts both services. Each has a dispatcher, and so a thread, of its own: one waits for the other. */
    public static void serve(Connection connection, Trust trust) {
        Services services = new Services(connection, trust);
        connection.createDispatcher().subscribe("orders.new", NatsMessages.handler(trust, services::order, services::refuse));
        connection.createDispatcher().subscribe("stock.take", NatsMessages.handler(trust, services::take, services::refuse));
    }

    private void order(Identity identity, Message message) throws InterruptedException {
        Headers headers;
        try {
            headers = NatsMessages.forward(message, new Headers(), trust);
        } catch (AnonymousException e) {
            refuse(e, message);
            return;
        }
        Message reply = connection.request("stock.take", headers, message.getData(), TIMEOUT);
        answer(message, reply == null ? "stock does not answer" : "thank you, " + identity.user() + ": " + text(reply));
    }

    private void take(Identity service, Message message) {
        Identity user;
        try {
            user = NatsMessages.forwarded(message, trust);
        } catch (AnonymousException e) {
            refuse(e, message);
            return;
        }
        String roles = String.join(", ", user.values().getOrDefault("Roles", List.of()));
        answer(message, service.user() + " takes " + text(message) + " for " + user.user() + " (" + roles + "), who asked on " + user.subject());
    }

    /** Answers as a service of jnats answers an error. */
    private void refuse(AnonymousException nobody, Message message) {
        // An answer without a payload would acknowledge what JetStream delivers.
        if (message.getReplyTo() != null && !message.getReplyTo().startsWith("$JS.ACK.")) {
            Headers headers = new Headers().put("Nats-Service-Error", nobody.verdict()).put("Nats-Service-Error-Code", "401");
            connection.publish(message.getReplyTo(), headers, new byte[0]);
        }
    }

    private void answer(Message request, String text) {
        if (request.getReplyTo() != null) {
            connection.publish(request.getReplyTo(), text.getBytes(StandardCharsets.UTF_8));
        }
    }

    private static String text(Message message) {
        return new String(message.getData(), StandardCharsets.UTF_8);
    }
}
