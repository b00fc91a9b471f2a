package example.stamp.receiver;

import java.security.PublicKey;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import javax.crypto.spec.SecretKeySpec;

/** What a receiver trusts: the table of docs/proofs.md. It does not change, and any number of threads may use it. */
public final class Trust {
    /** How many keys of salts are kept: one for each connection that publishes. */
    private static final int MAX_MESSAGE_KEYS = 10_000;
    private static final int DEFAULT_SKEW = 5;
    /** As in the other languages. */
    private static final int MAX_REPLAYS = 8_000_000;
    private static final String ACCOUNTS = "accounts: expected names of accounts, and for each a list of subjects";

    /** A server's Ed25519 key. text is the key in the trust. */
    record Signer(String text, int id, PublicKey key) {}

    /** A server's X25519 key and one of the receiver's. text is the server's key in the trust. */
    record Pair(String text, byte[] server, byte[] receiver, int serverId, int receiverId, byte[] secret) {}

    final String user;
    final Set<String> many;
    final List<String> names; // user first
    final Map<String, List<List<String>>> accounts = new HashMap<>();
    final List<List<String>> signed = new ArrayList<>();
    final long maxAge, maxSkew; // seconds
    final boolean wantsProof, hasKeys;
    final List<Signer> signers = new ArrayList<>();
    final List<Pair> pairs = new ArrayList<>();
    private final Cache<Boolean> taken; // null: none are remembered
    private final Cache<SecretKeySpec> messageKeys;
    private final List<List<String>> handled; // null: a handler is for messages that were published where they arrived

    /** Begins a trust: user is the header that names the user. */
    public static Builder ofUser(String user) {
        return new Builder(user);
    }

    /** The fields of the table in docs/proofs.md. build() names the one that cannot be. */
    public static final class Builder {
        private final String user;
        private List<String> one = List.of(), many = List.of(), servers = List.of(), keys = List.of(), signed = List.of();
        private Map<String, List<String>> accounts = Map.of();
        private long maxAge, maxSkew;
        private int replays;

        private Builder(String user) {
            this.user = user;
        }

        /** Further headers that the service reads, each with one value at most. */
        public Builder one(String... names) {
            one = texts("one", names);
            return this;
        }

        /** Further headers that the service reads, with any number of values. */
        public Builder many(String... names) {
            many = texts("many", names);
            return this;
        }

        /** Accounts of publishers, and for each the subjects, with wildcards; the account "*" is any other. */
        public Builder accounts(Map<String, List<String>> accounts) {
            check(accounts != null, ACCOUNTS);
            this.accounts = new LinkedHashMap<>(accounts);
            return this;
        }

        /** How old a message may be, in seconds; 0: any age. */
        public Builder maxAge(long seconds) {
            maxAge = seconds;
            return this;
        }

        /** How far in the future its time may be, in seconds; 0: 5. */
        public Builder maxSkew(long seconds) {
            maxSkew = seconds;
            return this;
        }

        /** Public keys of servers, X... and N.... Without any, no proof is wanted. */
        public Builder servers(String... keys) {
            servers = texts("servers", keys);
            return this;
        }

        /** The receiver's own seeds, SX..., newest first. */
        public Builder keys(String... seeds) {
            keys = texts("keys", seeds);
            return this;
        }

        /** Subjects on which a proof must be signed, with wildcards; needs a server N.... Without them, whoever holds one of the keys can make a proof. */
        public Builder signed(String... subjects) {
            signed = texts("signed", subjects);
            return this;
        }

        /** How many proofs are remembered, to refuse a second message with the same; 0: none. */
        public Builder replays(int count) {
            replays = count;
            return this;
        }

        /** Throws IllegalArgumentException where the trust does not hold. */
        public Trust build() {
            return new Trust(this);
        }

        private static List<String> texts(String field, String... texts) {
            check(texts != null && !Arrays.asList(texts).contains(null), field + ": expected a list of texts, found null");
            return List.of(texts);
        }
    }

    private Trust(Builder b) {
        check(b.maxAge >= 0 && b.maxSkew >= 0 && b.replays >= 0, "maxAge, maxSkew or replays is negative");
        check(Math.max(b.maxAge, b.maxSkew) <= 100L * 366 * 24 * 60 * 60, "maxAge, maxSkew: expected at most 100 years in seconds");
        check(b.replays <= MAX_REPLAYS, "replays: expected at most " + MAX_REPLAYS + ", found " + b.replays);
        check(b.servers.isEmpty() || !b.accounts.isEmpty(), "servers without accounts: say in which accounts, and on which subjects, a message must have been published");
        check(!b.servers.isEmpty() || b.keys.isEmpty() && b.replays == 0, "keys or replays without servers: no proof would be looked at");
        check(b.signed.isEmpty() || b.servers.stream().anyMatch(key -> key.startsWith("N")), "signed without a server that signs: servers has no public key N...");
        check(b.maxAge == 0 || !b.accounts.isEmpty(), "maxAge without accounts: no time would be looked at");
        check(b.maxSkew == 0 || b.maxAge > 0, "maxSkew without maxAge: no time would be looked at");
        user = b.user;
        many = Set.copyOf(new HashSet<>(b.many));
        List<String> all = new ArrayList<>();
        all.add(b.user);
        all.addAll(b.one);
        all.addAll(b.many);
        checkNames(all);
        names = List.copyOf(all);
        b.accounts.forEach(this::addAccount);
        b.signed.forEach(subject -> signed.add(patternOf("signed", subject)));
        maxAge = b.maxAge;
        maxSkew = b.maxSkew == 0 ? DEFAULT_SKEW : b.maxSkew;
        wantsProof = !b.servers.isEmpty();
        hasKeys = !b.keys.isEmpty();
        taken = b.replays > 0 ? new Cache<>(b.replays) : null;
        messageKeys = new Cache<>(MAX_MESSAGE_KEYS);
        handled = null;
        addKeys(b.servers, b.keys);
    }

    /** The same trust for a handler. Both remember the same keys and proofs. */
    private Trust(Trust of, List<List<String>> handled) {
        this.handled = handled;
        user = of.user;
        many = of.many;
        names = of.names;
        accounts.putAll(of.accounts);
        signed.addAll(of.signed);
        maxAge = of.maxAge;
        maxSkew = of.maxSkew;
        wantsProof = of.wantsProof;
        hasKeys = of.hasKeys;
        signers.addAll(of.signers);
        pairs.addAll(of.pairs);
        taken = of.taken;
        messageKeys = of.messageKeys;
    }

    /**
     * A trust for a handler whose messages are published on these subjects, with wildcards. It is for messages that arrive on another subject
     * than that on which they are published, because a mapping, an import or a stream changes it. It remembers proofs together with this one.
     * Subjects of an earlier forSubjects no longer count. forwarded wants the trust from before. Throws IllegalArgumentException where a subject
     * cannot be.
     */
    public Trust forSubjects(String... subjects) {
        check(!accounts.isEmpty(), "forSubjects without accounts: no subject would be looked at");
        check(subjects != null && subjects.length > 0, "forSubjects: expected at least one subject, found none");
        return new Trust(this, Arrays.stream(subjects).map(subject -> patternOf("forSubjects", subject)).toList());
    }

    /**
     * Whether a message that was published on a subject is for the handler. The subject on which it arrived is compared as it is: whoever
     * publishes to orders.* does not choose a pattern.
     */
    boolean isFor(String subject, String arrived) {
        return handled != null ? handled.stream().anyMatch(pattern -> fits(pattern, subject)) : arrived == null || arrived.equals(subject);
    }

    private static void check(boolean holds, String fault) {
        if (!holds) {
            throw new IllegalArgumentException(fault);
        }
    }

    private static void checkNames(List<String> names) {
        Set<String> seen = new HashSet<>();
        Proof.PROVENANCE.forEach(name -> seen.add(Group.fold(name)));
        seen.add(Group.fold(Proof.NAME));
        seen.add(Group.fold(Proof.FORWARDED));
        for (String name : names) {
            check(name != null && Group.isToken(name), "user, one, many: expected names of headers");
            check(seen.add(Group.fold(name)), "the name " + name + " is of provenance or of proofs, or is there twice");
        }
    }

    private void addAccount(String account, List<String> subjects) {
        check(account != null && subjects != null && !subjects.isEmpty(), ACCOUNTS);
        check(isAccount(account), "accounts: expected names without control characters, lone surrogates and white space around them; found " + account);
        List<List<String>> patterns = new ArrayList<>();
        for (String subject : subjects) {
            patterns.add(patternOf("accounts: " + account, subject));
        }
        accounts.put(account, patterns);
    }

    /** Whether the server can have the name in Stamp-Account. With another name, the trust would be for nobody. */
    private static boolean isAccount(String name) {
        return !name.isEmpty() && name.codePoints().noneMatch(c -> c != '\t' && Character.isISOControl(c) || c == 0x2028 || c == 0x2029 || c == 0xfffd || isSurrogate(c))
                && !isAround(name.codePointAt(0)) && !isAround(name.codePointBefore(name.length()));
    }

    /** Whether some language takes the character off at the ends of a value. */
    private static boolean isAround(int c) {
        return isWhiteSpace(c) || c == 0xfeff;
    }

    /** White_Space in Unicode. Character.isWhitespace has more, which the receivers in other languages take. */
    private static boolean isWhiteSpace(int c) {
        return c >= '\t' && c <= '\r' || c == 0x85 || Character.isSpaceChar(c);
    }

    /** Whether a code point of a String is half of a character, which no UTF-8 has. */
    private static boolean isSurrogate(int c) {
        return c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE;
    }

    /** Refuses what only looks like a wildcard, as pay* does: to NATS that is a plain text, so the rule would protect nothing. */
    private static List<String> patternOf(String field, String subject) {
        List<String> tokens = subject == null ? List.of("") : tokens(subject);
        int rest = tokens.indexOf(">");
        boolean holds = tokens.stream().noneMatch(token -> token.isEmpty() || token.codePoints().anyMatch(Trust::isNoneOfSubjects)
                || token.length() > 1 && (token.contains("*") || token.contains(">")));
        check(holds && (rest < 0 || rest == tokens.size() - 1), field + ": expected subjects, with * and > as whole tokens and > as the last one; found " + subject);
        return tokens;
    }

    /** Whether no subject on which a header is stamped has the character. White space beyond ASCII is most likely an error. */
    private static boolean isNoneOfSubjects(int c) {
        return c <= ' ' || c == 0x7f || c == 0xfffd || isWhiteSpace(c) || isSurrogate(c);
    }

    private static List<String> tokens(String subject) {
        return List.of(subject.split("\\.", -1));
    }

    private void addKeys(List<String> servers, List<String> keys) {
        check(new HashSet<>(servers).size() == servers.size() && new HashSet<>(keys).size() == keys.size(), "servers, keys: one is there twice");
        Map<String, byte[]> curves = new LinkedHashMap<>();
        for (String text : servers) {
            check(text.startsWith("X") || text.startsWith("N"), "servers: expected public keys that begin with X or N");
            byte[] key = inField("servers", () -> Texts.publicKey(text.charAt(0), text));
            if (text.charAt(0) == 'N') {
                signers.add(new Signer(text, Crypto.keyId(key), Crypto.ed25519(key)));
            } else {
                curves.put(text, key);
            }
        }
        for (String text : keys) {
            byte[] seed = inField("keys", () -> Texts.seed('X', text)), own = Crypto.publicOf(seed);
            curves.forEach((server, key) -> pairs.add(new Pair(server, key, own, Crypto.keyId(key), Crypto.keyId(own), Crypto.secret(seed, key))));
        }
    }

    /** Reads a key, and names the field in the exception, which does not hold the key. */
    private static byte[] inField(String field, Supplier<byte[]> read) {
        try {
            return read.get();
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(field + ": " + e.getMessage());
        }
    }

    /** The key of the messages with one salt. */
    SecretKeySpec messageKey(Pair pair, byte[] salt) {
        SecretKeySpec key = messageKeys.get(nameOf(pair, salt));
        return key != null ? key : Crypto.hkdf(pair.secret(), salt, Texts.concat(Crypto.LABEL, pair.server(), pair.receiver()));
    }

    /**
     * Keeps a key for the next messages with its salt. Only for a message whose tag fits: a stranger can choose salts, and would
     * push out the keys of others.
     */
    void keepMessageKey(Pair pair, byte[] salt, SecretKeySpec key) {
        messageKeys.add(nameOf(pair, salt), key);
    }

    /** Of how many salts the keys are kept. */
    int keptMessageKeys() {
        return messageKeys.size();
    }

    private static String nameOf(Pair pair, byte[] salt) {
        return Texts.toBase64(Texts.concat(pair.server(), pair.receiver(), salt));
    }

    /** Remembers a proof. Returns false if it was taken before. */
    boolean takes(Proof proof) {
        return taken == null || taken.add(Texts.toBase64(proof.bytes), true);
    }

    /** The subjects on which messages of an account are trusted, or null. */
    List<List<String>> subjects(String account) {
        List<List<String>> subjects = accounts.get(account);
        return subjects != null ? subjects : accounts.get("*");
    }

    /** Whether a pattern, in tokens, fits a subject. Wildcards in the subject are plain characters. */
    static boolean fits(List<String> pattern, String subject) {
        List<String> tokens = tokens(subject);
        if (tokens.contains("")) {
            return false;
        }
        for (int i = 0; i < pattern.size(); i++) {
            String token = pattern.get(i);
            if (token.equals(">") && i == pattern.size() - 1) {
                return tokens.size() > i;
            }
            if (i >= tokens.size() || !token.equals("*") && !token.equals(tokens.get(i))) {
                return false;
            }
        }
        return tokens.size() == pattern.size();
    }

    /** Holds so many entries at most: the one that was put in first is forgotten. */
    private static final class Cache<T> {
        private final Map<String, T> entries;

        Cache(int limit) {
            entries = new LinkedHashMap<>() {
                private static final long serialVersionUID = 1;

                @Override
                protected boolean removeEldestEntry(Map.Entry<String, T> eldest) {
                    return size() > limit;
                }
            };
        }

        synchronized T get(String key) {
            return entries.get(key);
        }

        synchronized int size() {
            return entries.size();
        }

        /** Returns whether the key is new. */
        synchronized boolean add(String key, T value) {
            return entries.putIfAbsent(key, value) == null;
        }
    }
}
