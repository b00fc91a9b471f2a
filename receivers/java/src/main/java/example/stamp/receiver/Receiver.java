package example.stamp.receiver;

import java.time.DateTimeException;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Cipher;
import javax.crypto.spec.SecretKeySpec;

/** Says who sent a message, or that nobody did. It judges step by step as in docs/proofs.md. */
public final class Receiver {
    /**
     * Whether a header is that of a forwarded proof, in any spelling. Adapters remove these from a request before they add one, since a
     * second one would make the request nobody's.
     */
    public static boolean isForwardedProof(String name) {
        return Group.fold(name).equals(Group.fold(Proof.FORWARDED));
    }

    private static final Pattern TIME = Pattern.compile("([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\\.([0-9]{9})Z");

    private Receiver() {}

    /** What stands for a payload in a proof. */
    private interface Payload {
        byte[] tag(SecretKeySpec key, byte[] counter);

        byte[] hash();

        static Payload of(byte[] payload) {
            return new Payload() {
                @Override
                public byte[] tag(SecretKeySpec key, byte[] counter) {
                    return Crypto.gcm(Cipher.ENCRYPT_MODE, key, 1, counter, new byte[0], payload);
                }

                @Override
                public byte[] hash() {
                    return Crypto.sha256(payload);
                }
            };
        }

        static Payload of(byte[] tag, byte[] hash) {
            return new Payload() {
                @Override
                public byte[] tag(SecretKeySpec key, byte[] counter) {
                    return tag;
                }

                @Override
                public byte[] hash() {
                    return hash;
                }
            };
        }
    }

    /** A header that is believed. values is null where they are encrypted for somebody else. */
    private record Believed(Group group, List<String> values) {}

    private record Found(Group group, Proof.Field field) {}

    /** What a proof has proven, and whose key did. */
    private record Proven(Proof proof, Map<String, Believed> believed, List<Proof.Field> fields, SecretKeySpec key, String server) {}

    private record Opened(byte[] plaintext, SecretKeySpec key, String server) {}

    /** Who has sent a message, now. Throws AnonymousException where that is nobody whom the trust knows. */
    public static Identity identify(Iterable<Header> headers, byte[] payload, Trust trust) throws AnonymousException {
        return identify(headers, payload, trust, Instant.now());
    }

    /** Who has sent a message. headers are in the order of the message. */
    public static Identity identify(Iterable<Header> headers, byte[] payload, Trust trust, Instant now) throws AnonymousException {
        return identify(headers, payload, trust, now, null);
    }

    /**
     * Who has sent a message that arrived on a subject. If it was published on another one, it is refused, unless the trust is one of
     * forSubjects. A trust without accounts looks at no subject. null stands for a subject that is not known.
     */
    public static Identity identify(Iterable<Header> headers, byte[] payload, Trust trust, Instant now, String subject) throws AnonymousException {
        Map<String, Group> groups = Group.groupsOf(headers);
        if (!trust.wantsProof) {
            return judge(groups, asWritten(groups, trust), trust, now, subject, null);
        }
        Proof proof = Proof.parse(onlyLine(groups, Proof.NAME));
        Proven proven = prove(groups, trust, proof, keysOf(trust, proof), Payload.of(payload), null);
        Identity identity = judge(groups, proven.believed(), trust, now, subject, proven);
        if (!trust.takes(proof)) {
            throw new AnonymousException("replayed");
        }
        return identity;
    }

    /** Who had sent the message of which somebody passes on the proof. */
    public static Identity forwarded(Iterable<Header> headers, Trust trust, Instant now) throws AnonymousException {
        Proof.Forwarded.Start start = Proof.Forwarded.start(onlyLine(Group.groupsOf(headers), Proof.FORWARDED));
        // The keys are looked at before the fields, which anybody can make many of. Without servers there is none.
        Keys keys = keysOf(trust, start.proof());
        Proof.Forwarded found = Proof.Forwarded.parse(start);
        Map<String, Group> groups = Group.groupsOf(found.headers());
        Proven proven = prove(groups, trust, start.proof(), keys, Payload.of(found.payloadTag(), found.payloadHash()), found.text());
        return judge(groups, proven.believed(), trust, now, null, proven);
    }

    /**
     * The value of Stamp-Forwarded-Proof with which a service passes on the proof of a message that it got. What is remembered
     * against replays is not looked at. Throws AnonymousException where the message is from nobody, and where the trust has no
     * servers, or no keys for a proof of kind 3.
     */
    public static String forward(Iterable<Header> headers, byte[] payload, Trust trust, Instant now) throws AnonymousException {
        return forward(headers, payload, trust, now, null);
    }

    /** The same of a message that arrived on a subject, which counts as in identify. */
    public static String forward(Iterable<Header> headers, byte[] payload, Trust trust, Instant now, String subject) throws AnonymousException {
        Map<String, Group> groups = Group.groupsOf(headers);
        if (!trust.wantsProof) {
            judge(groups, asWritten(groups, trust), trust, now, subject, null);
            throw new AnonymousException("proof-key");
        }
        Proof proof = Proof.parse(onlyLine(groups, Proof.NAME));
        Payload content = Payload.of(payload);
        Proven proven = prove(groups, trust, proof, keysOf(trust, proof), content, null);
        judge(groups, proven.believed(), trust, now, subject, proven);
        if (proof.exchanges && proven.key() == null) {
            throw new AnonymousException("proof-key");
        }
        byte[] tag = proof.exchanges ? content.tag(proven.key(), proof.counter) : new byte[0];
        return Proof.Forwarded.text(proof, tag, proof.signed ? content.hash() : new byte[0], proven.fields());
    }

    private static String onlyLine(Map<String, Group> groups, String name) throws AnonymousException {
        Group group = groups.get(Group.fold(name));
        if (group == null) {
            throw new AnonymousException("anonymous");
        }
        if (group.crowded || !group.spelling.equals(name) || group.values.size() != 1) {
            throw new AnonymousException("proof-malformed");
        }
        return group.values.get(0);
    }

    /** Step 2: without a proof, what is there is believed. */
    private static Map<String, Believed> asWritten(Map<String, Group> groups, Trust trust) {
        Map<String, Believed> believed = new HashMap<>();
        for (String name : trust.names) {
            Group group = groups.get(Group.fold(name));
            if (group != null) {
                believed.put(group.folded, new Believed(group, group.values));
            }
        }
        return believed;
    }

    /** The keys that can have made a proof. opens says whether its tag is checked. */
    private record Keys(List<Trust.Pair> pairs, List<Trust.Signer> signers, boolean opens) {}

    /** Step 4. */
    private static Keys keysOf(Trust trust, Proof proof) throws AnonymousException {
        List<Trust.Pair> pairs = trust.pairs.stream().filter(p -> proof.exchanges && p.serverId() == proof.server && p.receiverId() == proof.receiver).toList();
        List<Trust.Signer> signers = trust.signers.stream().filter(s -> proof.signed && s.id() == proof.signer).toList();
        boolean opens = proof.exchanges && (!proof.signed || trust.hasKeys);
        if (opens && pairs.isEmpty() || proof.signed && signers.isEmpty()) {
            throw new AnonymousException("proof-key");
        }
        return new Keys(pairs, signers, opens);
    }

    /** Steps 5 and 6. wanted is F_text, where it is given. */
    private static Proven prove(Map<String, Group> groups, Trust trust, Proof proof, Keys keys, Payload payload, byte[] wanted) throws AnonymousException {
        boolean opens = keys.opens();
        List<Found> found = fieldsOf(groups, proof, opens);
        List<Proof.Field> fields = found.stream().map(Found::field).toList();
        byte[] text = Proof.textOf(fields);
        if (wanted != null && !Arrays.equals(text, wanted)) {
            throw new AnonymousException("proof-malformed");
        }
        Opened opened = opens ? open(keys.pairs(), trust, proof, payload, fields) : null;
        String server = opened == null ? null : opened.server();
        if (proof.signed) {
            byte[] signed = Texts.concat(Crypto.LABEL, proof.beforeSignature(), text, payload.hash());
            // Of a proof with both, the signature says which server it was: whoever holds the receiver's seed can make a tag.
            server = keys.signers().stream().filter(signer -> Crypto.verifies(signer.key(), proof.signature, signed)).map(Trust.Signer::text).findFirst().orElse(null);
        }
        if (server == null) {
            throw new AnonymousException("proof-wrong");
        }
        return new Proven(proof, believedOf(found, opened), fields, opened == null ? null : opened.key(), server);
    }

    private static Map<String, Believed> believedOf(List<Found> found, Opened opened) throws AnonymousException {
        Map<String, Believed> believed = new HashMap<>();
        int at = 0;
        for (Found one : found) {
            List<String> values = one.field().encrypted() ? null : one.group().values;
            if (one.field().encrypted() && opened != null) {
                values = new ArrayList<>();
                for (byte[] ciphertext : one.field().ciphertexts()) {
                    values.add(Texts.text(Arrays.copyOfRange(opened.plaintext(), at, at + ciphertext.length), "field-malformed"));
                    at += ciphertext.length;
                }
            }
            believed.put(one.group().folded, new Believed(one.group(), values));
        }
        return believed;
    }

    /** Step 5. */
    private static List<Found> fieldsOf(Map<String, Group> groups, Proof proof, boolean opens) throws AnonymousException {
        List<Found> found = new ArrayList<>();
        for (String name : Proof.PROVENANCE) {
            Group group = provenance(groups, name);
            found.add(new Found(group, fieldOf(group, false, false)));
        }
        Map<Integer, List<Group>> byEntry = new HashMap<>();
        for (Group group : groups.values()) {
            byEntry.computeIfAbsent(Group.entryOf(group.folded), id -> new ArrayList<>()).add(group);
        }
        String before = "";
        for (Proof.Entry entry : proof.entries) {
            List<Group> fitting = byEntry.getOrDefault(entry.id(), List.of());
            if (fitting.isEmpty()) {
                throw new AnonymousException("field-missing");
            }
            Group group = fitting.get(0);
            if (fitting.size() > 1 || group.crowded) {
                throw new AnonymousException("field-twice");
            }
            if (group.folded.compareTo(before) <= 0 || isOwn(group.folded)) {
                throw new AnonymousException("proof-malformed");
            }
            found.add(new Found(group, fieldOf(group, entry.encrypted(), opens)));
            before = group.folded;
        }
        return found;
    }

    private static boolean isOwn(String folded) {
        return folded.equals(Group.fold(Proof.NAME)) || Proof.PROVENANCE.stream().anyMatch(name -> Group.fold(name).equals(folded));
    }

    private static Group provenance(Map<String, Group> groups, String name) throws AnonymousException {
        Group group = groups.get(Group.fold(name));
        if (group == null) {
            throw new AnonymousException("field-missing");
        }
        if (group.crowded || !group.spelling.equals(name) || group.values.size() != 1) {
            throw new AnonymousException("field-twice");
        }
        return group;
    }

    private static Proof.Field fieldOf(Group group, boolean encrypted, boolean opens) throws AnonymousException {
        if (Texts.utf8(group.spelling).length > 0xffff || group.values.size() > 0xffff) {
            throw new AnonymousException("field-malformed");
        }
        List<byte[]> ciphertexts = new ArrayList<>();
        if (encrypted && opens) {
            for (String value : group.values) {
                byte[] ciphertext = Texts.fromBase64(value);
                if (ciphertext == null) {
                    throw new AnonymousException("field-malformed");
                }
                ciphertexts.add(ciphertext);
            }
        }
        return new Proof.Field(group.spelling, group.values, encrypted, ciphertexts);
    }

    /** Step 6, the tag. Returns what was encrypted, the key that fits, and the server whose key it is. */
    private static Opened open(List<Trust.Pair> pairs, Trust trust, Proof proof, Payload payload, List<Proof.Field> fields) throws AnonymousException {
        List<byte[]> sealed = new ArrayList<>();
        fields.forEach(field -> sealed.addAll(field.ciphertexts()));
        sealed.add(proof.tag);
        byte[] ciphertext = Texts.concat(sealed.toArray(byte[][]::new));
        byte[] fixed = Texts.concat(Crypto.LABEL, proof.beforeTag(), Proof.macTextOf(fields));
        for (Trust.Pair pair : pairs) {
            SecretKeySpec key = trust.messageKey(pair, proof.salt);
            byte[] additional = Texts.concat(fixed, payload.tag(key, proof.counter));
            byte[] plaintext = Crypto.gcm(Cipher.DECRYPT_MODE, key, 0, proof.counter, ciphertext, additional);
            if (plaintext != null) {
                trust.keepMessageKey(pair, proof.salt, key);
                return new Opened(plaintext, key, pair.text());
            }
        }
        throw new AnonymousException("proof-wrong");
    }

    /** Steps 7, 8 and 10. arrived is the subject on which the message arrived, where that counts; proven is null without a proof. */
    private static Identity judge(Map<String, Group> groups, Map<String, Believed> believed, Trust trust, Instant now, String arrived, Proven proven) throws AnonymousException {
        Map<String, List<String>> values = new LinkedHashMap<>();
        for (String name : trust.names) {
            List<String> found = valuesOf(groups, believed, trust, name);
            if (found != null) {
                values.put(name, List.copyOf(found));
            }
        }
        String user = values.remove(trust.user).get(0);
        String server = proven == null ? null : proven.server();
        if (trust.accounts.isEmpty()) {
            return new Identity(user, Map.copyOf(values), null, null, null, trust.wantsProof, server);
        }
        List<String> provenance = new ArrayList<>();
        for (String name : Proof.PROVENANCE) {
            provenance.add(provenance(groups, name).values.get(0));
        }
        String account = provenance.get(0), subject = provenance.get(1);
        List<List<String>> patterns = trust.subjects(account);
        if (patterns == null) {
            throw new AnonymousException("account");
        }
        if (patterns.stream().noneMatch(pattern -> Trust.fits(pattern, subject))) {
            throw new AnonymousException("subject");
        }
        if (!trust.isFor(subject, arrived)) {
            throw new AnonymousException("misdirected");
        }
        if (proven != null && !proven.proof().signed && trust.signed.stream().anyMatch(pattern -> Trust.fits(pattern, subject))) {
            throw new AnonymousException("unsigned");
        }
        return new Identity(user, Map.copyOf(values), account, subject, checkTime(provenance.get(2), trust, now), trust.wantsProof, server);
    }

    /** The values of a name that the service reads, or null where it has none that can be read. */
    private static List<String> valuesOf(Map<String, Group> groups, Map<String, Believed> believed, Trust trust, String name) throws AnonymousException {
        Group group = groups.get(Group.fold(name));
        boolean isUser = name.equals(trust.user);
        if (group == null) {
            if (isUser) {
                throw new AnonymousException("anonymous");
            }
            return null;
        }
        Believed found = believed.get(group.folded);
        if (found == null) {
            throw new AnonymousException("field-uncovered");
        }
        if (group.crowded || !trust.wantsProof && !group.spelling.equals(name)) {
            throw new AnonymousException("field-twice");
        }
        if (group.values.size() > 1 && !trust.many.contains(name)) {
            throw new AnonymousException("field-twice");
        }
        if (isUser && (found.values() == null || found.values().get(0).isEmpty())) {
            throw new AnonymousException("anonymous");
        }
        return found.values();
    }

    private static Instant checkTime(String text, Trust trust, Instant now) throws AnonymousException {
        Matcher parts = TIME.matcher(text);
        if (!parts.matches() || parts.group(1).equals("0000")) {
            throw new AnonymousException("time-malformed");
        }
        int[] n = new int[8];
        for (int i = 1; i <= 7; i++) {
            n[i] = Integer.parseInt(parts.group(i));
        }
        Instant time;
        try {
            time = LocalDateTime.of(n[1], n[2], n[3], n[4], n[5], n[6], n[7]).toInstant(ZoneOffset.UTC);
        } catch (DateTimeException e) {
            throw new AnonymousException("time-malformed");
        }
        if (trust.maxAge > 0 && now.minusSeconds(trust.maxAge).isAfter(time)) {
            throw new AnonymousException("old");
        }
        if (trust.maxAge > 0 && time.isAfter(now.plusSeconds(trust.maxSkew))) {
            throw new AnonymousException("future");
        }
        return time;
    }
}
