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

    /**
     * Who has sent a message. Throws AnonymousException where that is nobody whom the trust knows, and where the message was published on another
     * subject than that on which it arrived, or with a trust of forSubjects on none of these.
     */
    public static Identity identify(Message message, Trust trust) throws AnonymousException {
        return Receiver.identify(lines(message.getHeaders()), data(message.getData()), trust, Instant.now(), arrivedOn(message.getSubject(), message.getReplyTo()));
    }

    /** Who has sent a request to a service. */
    public static Identity identify(ServiceMessage request, Trust trust) throws AnonymousException {
        return Receiver.identify(lines(request.getHeaders()), data(request.getData()), trust, Instant.now(), arrivedOn(request.getSubject(), request.getReplyTo()));
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
        return forward(lines(received.getHeaders()), received.getData(), arrivedOn(received.getSubject(), received.getReplyTo()), request, trust);
    }

    /** The same for a request that a service got. */
    public static Headers forward(ServiceMessage received, Headers request, Trust trust) throws AnonymousException {
        return forward(lines(received.getHeaders()), received.getData(), arrivedOn(received.getSubject(), received.getReplyTo()), request, trust);
    }

    private static Headers forward(List<Header> received, byte[] data, String subject, Headers request, Trust trust) throws AnonymousException {
        for (String name : List.copyOf(request.keySet())) {
            if (Receiver.isForwardedProof(name)) {
                request.remove(name);
            }
        }
        return request.put(FORWARDED, Receiver.forward(received, data(data), trust, Instant.now(), subject));
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

    /**
     * The subject on which a message arrived. A message that JetStream delivers has the subject on which it was stored, and not that of the subscription:
     * whoever may ask for messages of a stream can have one delivered to any handler. jnats does not tell such a message from one of a consumer. So
     * it arrived on no subject, and only a handler with a trust of forSubjects takes it.
     */
    private static String arrivedOn(String subject, String replyTo) {
        return subject == null || replyTo != null && replyTo.startsWith("$JS.ACK.") ? "" : subject;
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
