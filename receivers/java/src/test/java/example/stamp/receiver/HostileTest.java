package example.stamp.receiver;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;

/** For all headers the receiver gives an identity or throws AnonymousException. Argument: the folder receivers. */
@SuppressWarnings("unchecked")
final class HostileTest {
    private static final long SEED = 20260301;
    private static final int MESSAGES = 10_000;
    // Pieces that are valid, or nearly so. Among them are texts that are no UTF-8, and digits that are not ASCII.
    private static final List<String> NAMES = List.of("X-User", "x_user", "X.User", "X-Us\u00e9er", "X-User\ud800", "\udcffX-User", "Roles", "Session", "Stamp-Proof",
            "stamp.proof", "Stamp-Forwarded-Proof", "Stamp-Account", "Stamp-Subject", "Stamp-Time", "Stamp-Time ", "", " ", "\u2713", "X".repeat(70_000), "\0");
    private static final List<String> VALUES = List.of("alice", "", " ", "\ud800", "\udcff", "\ud83d\ude00", "APP", "orders.new", ".", ">", "a..b", "AQ", "Ag", "Aw", "AA", "=",
            "A".repeat(4097), "A".repeat(70_000), "-_-_", "2026-03-01T12:00:00.123456789Z", "0000-01-01T00:00:00.000000000Z", "9999-12-31T23:59:59.999999999Z",
            "2026-02-29T12:00:00.000000000Z", "\u0662026-03-01T12:00:00.123456789Z", "2026-03-01T12:00:60.000000000Z", "2026-03-01T12:00:00.123456789Z\n");
    private static final List<String> PIECES = List.of("", "A", "_", "\ud800", "\u0660", "\0");

    private final Random random = new Random(SEED);
    private final List<Trust> trusts = new ArrayList<>(List.of(Trust.ofUser("X-User").build(),
            Trust.ofUser("X-User").one("Session").many("Roles").accounts(Map.of("*", List.of(">"))).maxAge(60).build()));
    private final List<List<Header>> genuine = new ArrayList<>();
    private final List<List<List<String>>> blocks;
    private final Map<String, Integer> verdicts = new TreeMap<>();

    private interface Judge {
        void judge() throws AnonymousException;
    }

    private HostileTest(Path folder) throws IOException, AnonymousException {
        blocks = (List<List<List<String>>>) Json.read(Files.readString(folder.resolve("go/internal/vectors/testdata/hostile.json")));
        for (TestServer server : List.of(new TestServer("APP", false), new TestServer("APP", false, "Session"), new TestServer("APP", true), new TestServer("APP", true, "Session"))) {
            Trust trust = trust(server);
            List<Header> stamped = List.of(new Header("X-User", "alice"), new Header("Roles", "a"), new Header("Roles", "b"), new Header("Session", "0af3"));
            List<Header> headers = new ArrayList<>(server.stamp(stamped, "orders.new", new byte[0]));
            headers.add(new Header("Stamp-Forwarded-Proof", Receiver.forward(headers, new byte[0], trust, Instant.now())));
            genuine.add(headers);
            trusts.add(trust);
        }
    }

    private static Trust trust(TestServer server) {
        return Trust.ofUser("X-User").one("Session").many("Roles").accounts(Map.of("APP", List.of("orders.>"))).maxAge(3600).servers(server.servers()).keys(server.keys()).build();
    }

    public static void main(String[] args) throws Exception {
        replacements();
        folds();
        keysAreKept();
        HostileTest test = new HostileTest(Path.of(args[0]));
        for (int number = 0; number < MESSAGES; number++) {
            test.judge(number);
        }
        // The messages reach all steps of the receiver.
        check(test.verdicts.keySet().containsAll(Set.of("ok", "anonymous", "proof-malformed", "proof-wrong", "proof-key", "proof-version", "field-twice", "field-missing")),
                "expected at least eight kinds of verdicts; found " + test.verdicts);
        System.out.println(MESSAGES + " hostile messages");
    }

    private static void check(boolean holds, String fault) {
        if (!holds) {
            throw new AssertionError(fault);
        }
    }

    /** A lone surrogate does not count as the character that an encoder writes in its place. */
    private static void replacements() throws AnonymousException {
        for (TestServer server : List.of(new TestServer("APP", false), new TestServer("APP", true))) {
            Trust trust = trust(server);
            List<Header> headers = server.stamp(List.of(new Header("X-User", "al?")), "orders.new", new byte[0]);
            check(Receiver.identify(headers, new byte[0], trust).user().equals("al?"), "the genuine message is refused");
            List<Header> forged = headers.stream().map(header -> new Header(header.name(), header.value().replace("?", "\ud800"))).toList();
            check(verdict(() -> Receiver.identify(forged, new byte[0], trust)).equals("proof-wrong"), "a lone surrogate counts as a question mark");
        }
    }

    /** Forged messages with other salts do not push out the keys of those that the server made. */
    private static void keysAreKept() throws AnonymousException {
        TestServer server = new TestServer("APP", false);
        Trust trust = trust(server);
        List<Header> genuine = server.stamp(List.of(new Header("X-User", "alice")), "orders.new", new byte[0]);
        Receiver.identify(genuine, new byte[0], trust);
        Header proof = genuine.get(genuine.size() - 1);
        for (int other = 1; other <= 10_001; other++) {
            byte[] bytes = Texts.fromBase64(proof.value());
            bytes[5] ^= (byte) other;
            bytes[6] ^= (byte) (other >> 8);
            List<Header> forged = new ArrayList<>(genuine);
            forged.set(genuine.size() - 1, new Header(proof.name(), Texts.toBase64(bytes)));
            check(verdict(() -> Receiver.identify(forged, new byte[0], trust)).equals("proof-wrong"), "a forged message is taken");
        }
        check(trust.keptMessageKeys() == 1, "the keys of " + trust.keptMessageKeys() + " salts are kept");
    }

    /** A name is folded once for a run of its values. */
    private static void folds() {
        List<Header> headers = new ArrayList<>();
        for (String name : List.of("X".repeat(1000), "x".repeat(1000), "")) {
            headers.addAll(Collections.nCopies(1000, new Header(name, "")));
        }
        List<Integer> folded = new ArrayList<>();
        Map<String, Group> groups = Group.groupsOf(headers, name -> {
            folded.add(name.length());
            return Group.fold(name);
        });
        check(folded.equals(List.of(1000, 1000, 0)), "names were folded " + folded.size() + " times, expected once for each run of values");
        Group group = groups.get("x".repeat(1000));
        check(groups.size() == 1 && group.values.size() == 2000 && group.crowded, "the two spellings of the name are not one group");
    }

    private static String verdict(Judge judge) {
        try {
            judge.judge();
            return "ok";
        } catch (AnonymousException e) {
            return e.verdict();
        }
    }

    private void judge(int number) {
        List<Header> headers = message();
        Trust trust = any(trusts);
        List<Judge> judges = new ArrayList<>(List.of(() -> Receiver.identify(headers, new byte[0], trust), () -> Receiver.forwarded(headers, trust, Instant.now())));
        if (trust.wantsProof) {
            judges.add(() -> Receiver.forward(headers, new byte[0], trust, Instant.now()));
        }
        for (Judge judge : judges) {
            try {
                verdicts.merge(verdict(judge), 1, Integer::sum);
            } catch (RuntimeException e) {
                throw new AssertionError("message " + number + " of the seed " + SEED, e);
            }
        }
    }

    private <T> T any(List<T> list) {
        return list.get(random.nextInt(list.size()));
    }

    private List<Header> message() {
        int kind = random.nextInt(4);
        List<Header> headers = new ArrayList<>();
        if (kind < 2) {
            for (int lines = random.nextInt(12); lines > 0; lines--) {
                headers.add(kind == 0 ? new Header(any(NAMES), any(VALUES)) : new Header(characters(), characters()));
            }
            return headers;
        }
        headers.addAll(any(genuine));
        if (kind == 2) {
            any(blocks).forEach(line -> headers.add(new Header(line.get(0), line.get(1))));
        }
        for (int changes = 1 + random.nextInt(3); changes > 0; changes--) {
            headers.set(random.nextInt(headers.size()), changed(any(headers)));
        }
        return headers;
    }

    private Header changed(Header header) {
        return switch (random.nextInt(4)) {
            case 0 -> new Header(header.name(), mutated(header.value()));
            case 1 -> new Header(mutated(header.name()), header.value());
            case 2 -> new Header(any(NAMES), header.value());
            default -> new Header(header.name(), any(VALUES));
        };
    }

    /** The text with one character changed, left out or put in. */
    private String mutated(String text) {
        int at = random.nextInt(text.length() + 1), end = Math.min(text.length(), at + random.nextInt(2));
        return text.substring(0, at) + any(PIECES) + text.substring(end);
    }

    private String characters() {
        StringBuilder text = new StringBuilder();
        for (int size = random.nextInt(9); size > 0; size--) {
            text.append(random.nextInt(20) == 0 ? (char) random.nextInt(0x10000) : (char) random.nextInt(0x80));
        }
        return text.toString();
    }
}
