package example;

import example.stamp.receiver.AnonymousException;
import example.stamp.receiver.Header;
import example.stamp.receiver.Identity;
import example.stamp.receiver.TestServer;
import example.stamp.receiver.Trust;
import example.stamp.receiver.nats.NatsMessages;
import io.nats.client.Connection;
import io.nats.client.Dispatcher;
import io.nats.client.Message;
import io.nats.client.MessageHandler;
import io.nats.client.Subscription;
import io.nats.client.impl.Headers;
import io.nats.service.ServiceMessage;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Messages of jnats, and the example with a connection that stamps as a server does. It needs stand-ins/. */
final class NatsMessagesTest {
    private static final TestServer SERVER = new TestServer("APP", false, "Session");
    private static final Trust TRUST = Trust.ofUser("X-User").one("Session").many("Roles").accounts(Map.of("APP", List.of("orders.>", "stock.>")))
            .maxAge(60).servers(SERVER.servers()).keys(SERVER.keys()).build();
    private static final byte[] PAYLOAD = "2 apples".getBytes(StandardCharsets.UTF_8);
    private static final List<Header> ALICE = List.of(new Header("X-User", "alice"), new Header("Roles", "admin"), new Header("Session", "0af3 Grüße ✓"), new Header("Roles", "ops"));

    private record Msg(String subject, String replyTo, Headers headers, byte[] data) implements Message {
        @Override
        public String getSubject() {
            return subject;
        }

        @Override
        public String getReplyTo() {
            return replyTo;
        }

        @Override
        public Headers getHeaders() {
            return headers;
        }

        @Override
        public byte[] getData() {
            return data;
        }
    }

    /** The connection of one user. What it publishes is handled at once. */
    private static final class Bus implements Connection, Dispatcher {
        final Map<String, MessageHandler> handlers = new HashMap<>();
        final List<Msg> answers = new ArrayList<>();

        @Override
        public Dispatcher createDispatcher() {
            return this;
        }

        @Override
        public Subscription subscribe(String subject, MessageHandler handler) {
            handlers.put(subject, handler);
            return new Subscription() {};
        }

        @Override
        public void publish(String subject, byte[] body) {
            publish(subject, null, body);
        }

        @Override
        public void publish(String subject, Headers headers, byte[] body) {
            answers.add(new Msg(subject, null, headers, body));
        }

        @Override
        public Message request(String subject, Headers headers, byte[] body, Duration timeout) throws InterruptedException {
            SERVER.stamp(List.of(new Header("X-User", "orders")), subject, body).forEach(line -> headers.add(line.name(), line.value()));
            return request(subject, headers, body);
        }

        Msg request(String subject, Headers headers, byte[] body) throws InterruptedException {
            handlers.get(subject).onMessage(new Msg(subject, "_INBOX.1", headers, body));
            return answers.remove(answers.size() - 1);
        }
    }

    private static void check(Object got, Object want) {
        if (!want.equals(got)) {
            throw new AssertionError("got " + got + ", want " + want);
        }
    }

    private interface Judge {
        Identity judge() throws AnonymousException;
    }

    private static String verdict(Judge judge) {
        try {
            judge.judge();
            return "ok";
        } catch (AnonymousException e) {
            return e.verdict();
        }
    }

    private static Headers stamped() {
        return stamped("orders.new");
    }

    private static Headers stamped(String subject) {
        Headers headers = new Headers();
        SERVER.stamp(ALICE, subject, PAYLOAD).forEach(line -> headers.add(line.name(), line.value()));
        return headers;
    }

    public static void main(String[] args) throws Exception {
        messages();
        handlers();
        example();
        System.out.println("messages of jnats");
    }

    private static void messages() throws AnonymousException {
        Msg message = new Msg("orders.new", null, stamped(), PAYLOAD);
        for (Identity got : List.of(NatsMessages.identify(message, TRUST), NatsMessages.identify(new ServiceMessage(message), TRUST))) {
            check(List.of(got.user(), got.values().get("Roles"), got.value("Session").orElse("")), List.of("alice", List.of("admin", "ops"), "0af3 Grüße ✓"));
        }
        Msg passed = new Msg("stock.take", null, NatsMessages.forward(message, new Headers().put("Stamp-Forwarded-Proof", "AQ").put("stamp_forwarded.proof", "AQ"), TRUST), null);
        check(NatsMessages.forwarded(passed, TRUST).user(), "alice");
        check(NatsMessages.forwarded(new ServiceMessage(passed), TRUST).user(), "alice");
        check(verdict(() -> NatsMessages.identify(new Msg("a", null, null, null), TRUST)), "anonymous");
        check(verdict(() -> NatsMessages.identify(new Msg("orders.new", null, stamped(), null), TRUST)), "proof-wrong");
        check(verdict(() -> NatsMessages.identify(new Msg("orders.new", null, stamped().add("x_user", "bob"), PAYLOAD), TRUST)), "field-twice");
        check(verdict(() -> NatsMessages.identify(new Msg("orders.new", null, stamped().add("Roles", "root"), PAYLOAD), TRUST)), "proof-wrong");
        Headers kept = new Headers().put("Stamp-Forwarded-Proof", "AQ");
        Msg nobody = new Msg("a", null, null, null);
        check(verdict(() -> {
            NatsMessages.forward(nobody, kept, TRUST);
            return null;
        }), "anonymous");
        check(String.valueOf(kept.getFirst("Stamp-Forwarded-Proof")), "null");
    }

    /** A message that was published on another subject is not for the handler, unless that says its subjects. */
    private static void handlers() throws InterruptedException {
        List<String> seen = new ArrayList<>();
        MessageHandler handler = NatsMessages.handler(TRUST, (identity, message) -> seen.add(message.getSubject()), (nobody, message) -> seen.add(nobody.verdict()));
        for (String subject : new String[] {"orders.new", "orders.delete", "orders.*", ">", "orders.New", "", null}) {
            handler.onMessage(new Msg(subject, null, stamped(), PAYLOAD));
        }
        check(seen, List.of("orders.new", "misdirected", "misdirected", "misdirected", "misdirected", "misdirected", "misdirected"));
        Msg other = new Msg("svc.new", null, stamped(), PAYLOAD);
        check(verdict(() -> NatsMessages.identify(new ServiceMessage(other), TRUST)), "misdirected");
        check(verdict(() -> {
            NatsMessages.forward(other, new Headers(), TRUST);
            return null;
        }), "misdirected");
        // JetStream delivers with the subject of the stored message, to any subject that is asked for.
        Msg delivered = new Msg("orders.new", "$JS.ACK.ALL.C.1.1.1.1.0", stamped(), PAYLOAD);
        check(verdict(() -> NatsMessages.identify(delivered, TRUST)), "misdirected");
        check(verdict(() -> NatsMessages.identify(new ServiceMessage(delivered), TRUST)), "misdirected");
        check(verdict(() -> NatsMessages.identify(delivered, TRUST.forSubjects("orders.new"))), "ok");
        check(verdict(() -> NatsMessages.identify(other, TRUST.forSubjects("stock.take", "orders.*"))), "ok");
        check(verdict(() -> NatsMessages.identify(other, TRUST.forSubjects("orders.delete"))), "misdirected");
        check(verdict(() -> NatsMessages.identify(other, TRUST.forSubjects("orders.*").forSubjects("orders.delete"))), "misdirected");
        check(verdict(() -> NatsMessages.identify(other, TRUST.forSubjects("orders.delete").forSubjects("orders.*"))), "ok");
        for (String[] bad : new String[][] {{}, null, {""}, {"a..b"}, {"a b"}, {">.a"}, {"a\ud800"}, {null}}) {
            check(isRefused(TRUST, bad), true);
        }
        check(isRefused(Trust.ofUser("X-User").build(), "a"), true);
    }

    private static boolean isRefused(Trust trust, String... subjects) {
        try {
            trust.forSubjects(subjects);
            return false;
        } catch (IllegalArgumentException e) {
            return true;
        }
    }

    private static void example() throws InterruptedException {
        Bus bus = new Bus();
        Services.serve(bus, TRUST);
        Msg answer = bus.request("orders.new", stamped(), PAYLOAD);
        check(new String(answer.data(), StandardCharsets.UTF_8), "thank you, alice: orders takes 2 apples for alice (admin, ops), who asked on orders.new");
        answer = bus.request("orders.new", new Headers().put("X-User", "alice"), PAYLOAD);
        check(answer.headers().getFirst("Nats-Service-Error"), "anonymous");
        answer = bus.request("stock.take", stamped("stock.take"), PAYLOAD);
        check(answer.headers().getFirst("Nats-Service-Error"), "anonymous");
    }
}
