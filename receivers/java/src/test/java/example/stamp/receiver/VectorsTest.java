package example.stamp.receiver;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What docs/proofs.md says, by the vectors that all languages have. Argument: the file. */
@SuppressWarnings("unchecked")
final class VectorsTest {
    private static final Set<String> FIELDS = Set.of("user", "one", "many", "accounts", "max_age", "max_skew", "servers", "keys", "replays");

    private VectorsTest() {}

    public static void main(String[] args) throws Exception {
        Map<String, Object> vectors = (Map<String, Object>) Json.read(Files.readString(Path.of(args[0])));
        int wrong = 0, cases = 0;
        for (Object each : (List<Object>) vectors.get("cases")) {
            Map<String, Object> test = (Map<String, Object>) each;
            Trust trust = trust((Map<String, Object>) test.get("trust"));
            Instant now = Instant.parse((String) test.get("now"));
            for (Object earlier : (List<Object>) test.getOrDefault("before", List.of())) {
                Map<String, Object> message = (Map<String, Object>) earlier;
                judge(message, trust, message.containsKey("now") ? Instant.parse((String) message.get("now")) : now);
            }
            Map<String, Object> got = told(judge(test, trust, now)), want = told((Map<String, Object>) test.get("want"));
            cases++;
            if (!got.equals(want)) {
                wrong++;
                System.err.println(test.get("name") + ": got " + got + ", want " + want);
            }
        }
        for (Object each : (List<Object>) vectors.get("bad_trusts")) {
            Map<String, Object> test = (Map<String, Object>) each;
            cases++;
            try {
                trust((Map<String, Object>) test.get("trust"));
                wrong++;
                System.err.println("a trust that does not hold was taken: " + test.get("name"));
            } catch (RuntimeException e) {
                // as it should be
            }
        }
        System.out.println(cases + " cases, " + wrong + " wrong");
        System.exit(wrong == 0 ? 0 : 1);
    }

    private static Trust trust(Map<String, Object> fields) {
        if (!FIELDS.containsAll(fields.keySet())) {
            throw new IllegalArgumentException("unknown field");
        }
        return Trust.ofUser((String) fields.get("user"))
                .one(texts(fields.get("one"))).many(texts(fields.get("many")))
                .accounts((Map<String, List<String>>) fields.getOrDefault("accounts", Map.of()))
                .maxAge((long) fields.getOrDefault("max_age", 0L)).maxSkew((long) fields.getOrDefault("max_skew", 0L))
                .servers(texts(fields.get("servers"))).keys(texts(fields.get("keys")))
                .replays((int) (long) fields.getOrDefault("replays", 0L)).build();
    }

    private static String[] texts(Object list) {
        return list == null ? new String[0] : ((List<String>) list).toArray(String[]::new);
    }

    private static Map<String, Object> judge(Map<String, Object> message, Trust trust, Instant now) {
        List<Header> headers = new ArrayList<>();
        if (message.get("headers") != null) {
            ((List<List<String>>) message.get("headers")).forEach(line -> headers.add(new Header(line.get(0), line.get(1))));
        }
        byte[] payload = message.get("payload") == null ? new byte[0] : Base64.getDecoder().decode((String) message.get("payload"));
        Map<String, Object> verdict = new LinkedHashMap<>();
        try {
            Identity got = Boolean.TRUE.equals(message.get("forwarded")) ? Receiver.forwarded(headers, trust, now) : Receiver.identify(headers, payload, trust, now);
            verdict.put("verdict", "ok");
            verdict.put("user", got.user());
            verdict.put("values", got.values());
            verdict.put("account", got.account());
            verdict.put("subject", got.subject());
            verdict.put("time", got.timestamp());
            verdict.put("proven", got.proven());
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
