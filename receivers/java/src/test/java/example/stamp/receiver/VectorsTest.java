package example.stamp.receiver;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** What docs/proofs.md says, by the vectors that all languages have. Argument: their folder. */
@SuppressWarnings("unchecked")
final class VectorsTest {
    private static final Set<String> FIELDS = Set.of("user", "one", "many", "accounts", "max_age", "max_skew", "servers", "keys", "signed", "replays");

    private VectorsTest() {}

    private static final Set<String> NUMBERS = Set.of("max_age", "max_skew", "replays");
    private static int cases, wrong;

    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[0]);
        vectors(read(folder, "vectors.json"));
        goodTrusts(read(folder, "vectors.json"));
        mutations(read(folder, "mutations.json"));
        making(read(folder, "make.json"));
        testServer();
        value();
        forwardNothing();
        System.out.println(cases + " cases, " + wrong + " wrong");
        System.exit(wrong == 0 ? 0 : 1);
    }

    private static Map<String, Object> read(Path folder, String name) throws IOException {
        return (Map<String, Object>) Json.read(Files.readString(folder.resolve(name)));
    }

    private static void expect(Object name, Object got, Object want) {
        cases++;
        if (!got.equals(want)) {
            wrong++;
            System.err.println(name + ": got " + got + ", want " + want);
        }
    }

    private static List<Map<String, Object>> list(Object list) {
        return list == null ? List.of() : (List<Map<String, Object>>) list;
    }

    private static void vectors(Map<String, Object> vectors) {
        for (Map<String, Object> test : list(vectors.get("cases"))) {
            Trust trust = trust((Map<String, Object>) test.get("trust"));
            if (test.containsKey("subjects")) {
                trust = trust.forSubjects(texts(test, "subjects"));
            }
            Instant now = Instant.parse((String) test.get("now"));
            for (Map<String, Object> message : list(test.get("before"))) {
                judge(message, trust, message.containsKey("now") ? Instant.parse((String) message.get("now")) : now);
            }
            expect(test.get("name"), told(judge(test, trust, now)), told((Map<String, Object>) test.get("want")));
        }
        for (Map<String, Object> test : list(vectors.get("bad_trusts"))) {
            String field = (String) test.getOrDefault("field", ""), refusal = refusal((Map<String, Object>) test.get("trust"));
            // The builder takes no null for a number, no object for a list, and nothing but texts in a list.
            boolean names = NUMBERS.contains(field) || refusal.contains("ClassCastException") || refusal.contains("ArrayStoreException") || refusal.contains(field);
            expect(test.get("name"), refusal.isEmpty() || !names ? "refusal: " + refusal : "refused", "refused");
        }
    }

    /** A number of JSON, which this parser gives as a long or a double. The builder takes whole ones alone. */
    private static long whole(Object number) {
        if (number instanceof Double value && value == Math.rint(value) && Math.abs(value) < 1L << 53) {
            return value.longValue();
        }
        return (long) number;
    }

    /** Why a trust is refused, or an empty text if it is not. */
    private static String refusal(Map<String, Object> trust) {
        try {
            trust(trust);
            return "";
        } catch (RuntimeException e) {
            return e.toString();
        }
    }

    private static void goodTrusts(Map<String, Object> vectors) {
        for (Map<String, Object> test : list(vectors.get("good_trusts"))) {
            expect(test.get("name"), refusal((Map<String, Object>) test.get("trust")), "");
        }
    }

    private static void mutations(Map<String, Object> mutations) {
        Trust trust = trust(list(mutations.get("trust")).get(0));
        Instant now = Instant.parse(((List<String>) mutations.get("now")).get(0));
        for (Map<String, Object> test : list(mutations.get("cases"))) {
            expect(test.get("name"), told(judge(test, trust, now)), told((Map<String, Object>) test.get("want")));
        }
    }

    private static void making(Map<String, Object> making) throws AnonymousException {
        for (Map<String, Object> test : list(making.get("cases"))) {
            String time = (String) test.get("time");
            List<Header> made = new StampedMessage((String) test.get("curve_seed"), (String) test.get("sign_seed"), (String) test.get("receiver"),
                    bytes(test.get("salt")), (int) (long) test.get("counter"), (String) test.get("account"), (String) test.get("subject"), time,
                    headers(test.get("headers")), List.of(texts(test, "encrypt")), Boolean.TRUE.equals(test.get("sign")), bytes(test.get("payload"))).lines();
            expect(test.get("name"), made, headers(test.get("lines")));
            String forward = Receiver.forward(made, bytes(test.get("payload")), trust((Map<String, Object>) test.get("trust")), Instant.parse(time));
            expect(test.get("name") + ", forwarded", forward, test.get("forward"));
        }
    }

    private static void testServer() throws AnonymousException {
        for (TestServer server : List.of(new TestServer("APP", false), new TestServer("APP", true), new TestServer("APP", false, "Session"), new TestServer("APP", true, "Session"))) {
            Trust trust = Trust.ofUser("X-User").one("Session").accounts(Map.of("APP", List.of("orders.>"))).maxAge(60).servers(server.servers()).keys(server.keys()).build();
            List<Header> headers = server.stamp(List.of(new Header("X-User", "alice"), new Header("Session", "0af3")), "orders.new", new byte[] {1});
            Identity got = Receiver.identify(headers, new byte[] {1}, trust);
            expect("a server for tests", List.of(got.user(), got.value("Session").orElse(""), got.proven()), List.of("alice", "0af3", true));
            String verdict = "ok";
            try {
                Receiver.identify(headers, new byte[] {2}, trust);
            } catch (AnonymousException e) {
                verdict = e.verdict();
            }
            expect("another payload", verdict, "proof-wrong");
        }
    }

    /** A header with several values has none that is the value. */
    private static void value() throws AnonymousException {
        List<Header> headers = List.of(new Header("X-User", "alice"), new Header("Roles", "a"), new Header("Roles", "b"), new Header("Tenant", "t"));
        Identity got = Receiver.identify(headers, new byte[0], Trust.ofUser("X-User").many("Roles", "Tenant").build());
        expect("a value of several", List.of(got.value("Roles"), got.value("Tenant"), got.value("Other")), List.of(Optional.empty(), Optional.of("t"), Optional.empty()));
    }

    /** What cannot be forwarded is nobody's for who asks. */
    private static void forwardNothing() throws AnonymousException {
        TestServer server = new TestServer("APP", true, "Session");
        List<Header> headers = server.stamp(List.of(new Header("X-User", "alice"), new Header("Session", "0af3")), "orders.new", new byte[1]);
        for (Trust trust : List.of(Trust.ofUser("X-User").accounts(Map.of("APP", List.of(">"))).servers(server.servers()).build(), Trust.ofUser("X-User").build())) {
            expect("a message that cannot be forwarded", Receiver.identify(headers, new byte[1], trust).user(), "alice");
            String verdict = "ok";
            try {
                Receiver.forward(headers, new byte[1], trust, Instant.now());
            } catch (AnonymousException | RuntimeException e) {
                verdict = e instanceof AnonymousException anonymous ? anonymous.verdict() : e.toString();
            }
            expect("what cannot be forwarded", verdict, "proof-key");
        }
    }

    private static byte[] bytes(Object base64) {
        return base64 == null ? new byte[0] : Base64.getDecoder().decode((String) base64);
    }

    private static List<Header> headers(Object lines) {
        List<Header> headers = new ArrayList<>();
        for (List<String> line : lines == null ? List.<List<String>>of() : (List<List<String>>) lines) {
            headers.add(new Header(line.get(0), line.get(1)));
        }
        return headers;
    }

    private static Trust trust(Map<String, Object> fields) {
        if (!FIELDS.containsAll(fields.keySet())) {
            throw new IllegalArgumentException("unknown field");
        }
        return Trust.ofUser((String) fields.get("user"))
                .one(texts(fields, "one")).many(texts(fields, "many"))
                .accounts((Map<String, List<String>>) fields.getOrDefault("accounts", Map.of()))
                .maxAge(whole(fields.getOrDefault("max_age", 0L))).maxSkew(whole(fields.getOrDefault("max_skew", 0L)))
                .servers(texts(fields, "servers")).keys(texts(fields, "keys"))
                .signed(texts(fields, "signed")).replays(Math.toIntExact(whole(fields.getOrDefault("replays", 0L)))).build();
    }

    private static String[] texts(Map<String, Object> fields, String name) {
        return fields.containsKey(name) ? texts(fields.get(name)) : new String[0];
    }

    private static String[] texts(Object list) {
        return list == null ? null : ((List<String>) list).toArray(String[]::new);
    }

    private static Map<String, Object> judge(Map<String, Object> message, Trust trust, Instant now) {
        List<Header> headers = headers(message.get("headers"));
        byte[] payload = bytes(message.get("payload"));
        Map<String, Object> verdict = new LinkedHashMap<>();
        try {
            Identity got = Boolean.TRUE.equals(message.get("forwarded")) ? Receiver.forwarded(headers, trust, now) : Receiver.identify(headers, payload, trust, now, (String) message.get("arrived"));
            verdict.put("verdict", "ok");
            verdict.put("user", got.user());
            verdict.put("values", got.values());
            verdict.put("account", got.account());
            verdict.put("subject", got.subject());
            verdict.put("time", got.timestamp());
            verdict.put("proven", got.proven());
            verdict.put("server", got.server());
        } catch (AnonymousException e) {
            verdict.put("verdict", e.verdict());
        }
        return verdict;
    }

    /** Without what is empty. */
    private static Map<String, Object> told(Map<String, Object> verdict) {
        Map<String, Object> told = new LinkedHashMap<>(verdict);
        told.values().removeIf(value -> value == null || value.equals("") || value.equals(false) || value.equals(Map.of()));
        return told;
    }
}
