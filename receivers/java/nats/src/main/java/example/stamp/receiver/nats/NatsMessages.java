package example.stamp.receiver.nats;

import example.stamp.receiver.AnonymousException;
import example.stamp.receiver.Header;
import example.stamp.receiver.Identity;
import example.stamp.receiver.Receiver;
import example.stamp.receiver.Trust;
import io.nats.client.Message;
import io.nats.client.MessageHandler;
import io.nats.client.impl.Headers;
import io.nats.service.ServiceMessage;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * Messages of jnats: those of a subscription or a consumer, and requests to a service.
 *
 * <p>jnats keeps all values of a name in their order, and gives names with their spelling. It takes off white space around a value, and puts U+FFFD
 * in the place of bytes that are not UTF-8. Such a value is not what was proven, so the message is refused; without a proof nobody can tell.
 */
public final class NatsMessages {
    private static final String FORWARDED = "Stamp-Forwarded-Proof";

    private NatsMessages() {}

    /** Handles a message that somebody has sent. */
    @FunctionalInterface
    public interface Handler {
        void onMessage(Identity identity, Message message) throws InterruptedException;
    }

    /** Handles a message of nobody. */
    @FunctionalInterface
    public interface NobodyHandler {
        void onMessage(AnonymousException nobody, Message message) throws InterruptedException;
    }

    /** Who has sent a message. Throws AnonymousException where that is nobody whom the trust knows. */
    public static Identity identify(Message message, Trust trust) throws AnonymousException {
        return Receiver.identify(lines(message.getHeaders()), data(message.getData()), trust);
    }

    /** Who has sent a request to a service. */
    public static Identity identify(ServiceMessage request, Trust trust) throws AnonymousException {
        return Receiver.identify(lines(request.getHeaders()), data(request.getData()), trust);
    }

    /** Who had sent the message of which somebody passes on the proof. */
    public static Identity forwarded(Message message, Trust trust) throws AnonymousException {
        return Receiver.forwarded(lines(message.getHeaders()), trust, Instant.now());
    }

    /** Who had sent the message of which somebody passes on the proof in a request to a service. */
    public static Identity forwarded(ServiceMessage request, Trust trust) throws AnonymousException {
        return Receiver.forwarded(lines(request.getHeaders()), trust, Instant.now());
    }

    /**
     * Puts the proof of a message that was received into the headers of a request on behalf of its sender. If that message is
     * nobody's, they stay without.
     */
    public static Headers forward(Message received, Headers request, Trust trust) throws AnonymousException {
        return forward(lines(received.getHeaders()), received.getData(), request, trust);
    }

    /** The same for a request that a service got. */
    public static Headers forward(ServiceMessage received, Headers request, Trust trust) throws AnonymousException {
        return forward(lines(received.getHeaders()), received.getData(), request, trust);
    }

    private static Headers forward(List<Header> received, byte[] data, Headers request, Trust trust) throws AnonymousException {
        request.remove(FORWARDED);
        return request.put(FORWARDED, Receiver.forward(received, data(data), trust, Instant.now()));
    }

    /** A handler for a dispatcher. A message of nobody goes to the second handler: without an answer to a request, its sender waits. */
    public static MessageHandler handler(Trust trust, Handler handler, NobodyHandler nobody) {
        Objects.requireNonNull(trust, "trust");
        return message -> {
            Identity identity;
            try {
                identity = identify(message, trust);
            } catch (AnonymousException e) {
                nobody.onMessage(e, message);
                return;
            }
            handler.onMessage(identity, message);
        };
    }

    private static byte[] data(byte[] data) {
        return data == null ? new byte[0] : data;
    }

    private static List<Header> lines(Headers headers) {
        List<Header> lines = new ArrayList<>();
        if (headers != null) {
            headers.forEach((name, values) -> values.forEach(value -> lines.add(new Header(name, value))));
        }
        return lines;
    }
}
