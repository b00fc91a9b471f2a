package example.stamp.receiver;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** The bytes of a proof, and of the fields that it proves. */
final class Proof {
    static final List<String> PROVENANCE = List.of("Stamp-Account", "Stamp-Subject", "Stamp-Time");
    static final String NAME = "Stamp-Proof", FORWARDED = "Stamp-Forwarded-Proof";
    private static final int MAX_TEXT = 4096, MAX_LENGTH = 3072; // characters, and the bytes that they stand for

    /** A name that is proven: 23 bits of it. */
    record Entry(int id, boolean encrypted) {}

    /** What is proven of one header. The values are as in the message. */
    record Field(String name, List<String> values, boolean encrypted, List<byte[]> ciphertexts) {}

    final byte[] bytes;
    final boolean exchanges; // kinds 1 and 3, which are for a receiver
    final boolean signed; // kinds 2 and 3
    final int server, receiver, signer; // ids of keys
    final byte[] salt, counter, tag, signature;
    final List<Entry> entries = new ArrayList<>();

    /** Reads the value of Stamp-Proof. */
    static Proof parse(String text) throws AnonymousException {
        // The kind and the length are looked at before all of a text is decoded, which may be long.
        byte[] first = Texts.fromBase64(text.substring(0, Math.min(text.length(), 4)));
        if (first == null || first.length == 0) {
            throw new AnonymousException("proof-malformed");
        }
        if (!isKnown(first[0])) {
            throw new AnonymousException("proof-version");
        }
        byte[] bytes = text.length() > MAX_TEXT ? null : Texts.fromBase64(text);
        if (bytes == null) {
            throw new AnonymousException("proof-malformed");
        }
        return new Proof(bytes);
    }

    private static boolean isKnown(int kind) {
        return kind >= 1 && kind <= 3;
    }

    Proof(byte[] bytes) throws AnonymousException {
        if (bytes.length == 0) {
            throw new AnonymousException("proof-malformed");
        }
        int kind = bytes[0];
        if (!isKnown(kind)) {
            throw new AnonymousException("proof-version");
        }
        if (bytes.length > MAX_LENGTH) {
            throw new AnonymousException("proof-malformed");
        }
        this.bytes = bytes;
        exchanges = kind != 2;
        signed = kind != 1;
        int head = 1 + (exchanges ? 24 : 0) + (signed ? 2 : 0);
        int end = bytes.length - (exchanges ? 16 : 0) - (signed ? 64 : 0);
        if (end < head || (end - head) % 3 != 0) {
            throw new AnonymousException("proof-malformed");
        }
        server = exchanges ? number(1, 2) : 0;
        receiver = exchanges ? number(3, 2) : 0;
        salt = exchanges ? Arrays.copyOfRange(bytes, 5, 21) : new byte[0];
        counter = exchanges ? Arrays.copyOfRange(bytes, 21, 25) : new byte[0];
        signer = signed ? number(head - 2, 2) : 0;
        tag = exchanges ? Arrays.copyOfRange(bytes, end, end + 16) : new byte[0];
        signature = signed ? Arrays.copyOfRange(bytes, bytes.length - 64, bytes.length) : new byte[0];
        for (int at = head; at < end; at += 3) {
            int value = number(at, 3);
            boolean encrypted = value >= 0x800000;
            if (encrypted && !exchanges) {
                throw new AnonymousException("proof-malformed");
            }
            entries.add(new Entry(value & 0x7fffff, encrypted));
        }
    }

    private int number(int at, int size) {
        int value = 0;
        for (int i = at; i < at + size; i++) {
            value = value << 8 | bytes[i] & 0xff;
        }
        return value;
    }

    byte[] beforeTag() {
        return Arrays.copyOf(bytes, bytes.length - signature.length - tag.length);
    }

    byte[] beforeSignature() {
        return Arrays.copyOf(bytes, bytes.length - signature.length);
    }

    /** F_text of docs/proofs.md. */
    static byte[] textOf(List<Field> fields) {
        List<byte[]> parts = new ArrayList<>();
        for (Field field : fields) {
            addText(parts, field);
        }
        return Texts.concat(parts.toArray(byte[][]::new));
    }

    /** F_mac of docs/proofs.md. */
    static byte[] macTextOf(List<Field> fields) {
        List<byte[]> parts = new ArrayList<>();
        for (Field field : fields) {
            if (!field.encrypted()) {
                addText(parts, field);
                continue;
            }
            addHead(parts, field);
            for (byte[] ciphertext : field.ciphertexts()) {
                parts.add(number(0x80000000 | ciphertext.length));
            }
        }
        return Texts.concat(parts.toArray(byte[][]::new));
    }

    private static void addText(List<byte[]> parts, Field field) {
        addHead(parts, field);
        for (String value : field.values()) {
            byte[] bytes = Texts.utf8(value);
            parts.add(number(bytes.length));
            parts.add(bytes);
        }
    }

    private static void addHead(List<byte[]> parts, Field field) {
        byte[] name = Texts.utf8(field.name());
        parts.add(shortNumber(name.length));
        parts.add(name);
        parts.add(shortNumber(field.values().size()));
    }

    private static byte[] number(int value) {
        return ByteBuffer.allocate(4).putInt(value).array();
    }

    private static byte[] shortNumber(int value) {
        return ByteBuffer.allocate(2).putShort((short) value).array();
    }

    /**
     * A forwarded proof without its proof: what stands for the payload, and the headers that are proven.
     *
     * @param payloadTag empty in kind 2
     * @param payloadHash empty in kind 1
     * @param text F_text, of which the headers are
     */
    record Forwarded(byte[] payloadTag, byte[] payloadHash, List<Header> headers, byte[] text) {
        /** The proof, and what comes after it, which is read later: it can be much. */
        record Start(Proof proof, ByteBuffer rest) {}

        static Start start(String value) throws AnonymousException {
            byte[] bytes = Texts.fromBase64(value);
            if (bytes == null || bytes.length == 0) {
                throw new AnonymousException("proof-malformed");
            }
            if (bytes[0] != 1) {
                throw new AnonymousException("proof-version");
            }
            ByteBuffer reader = ByteBuffer.wrap(bytes, 1, bytes.length - 1);
            return new Start(new Proof(take(reader, number(reader, 2))), reader);
        }

        static Forwarded parse(Start start) throws AnonymousException {
            Proof proof = start.proof();
            ByteBuffer reader = start.rest();
            byte[] tag = take(reader, proof.exchanges ? 16 : 0), hash = take(reader, proof.signed ? 32 : 0);
            byte[] text = Arrays.copyOfRange(reader.array(), reader.position(), reader.limit());
            List<Header> headers = new ArrayList<>();
            while (reader.hasRemaining()) {
                String name = Texts.text(take(reader, number(reader, 2)), "proof-malformed");
                long values = number(reader, 2);
                if (values == 0) {
                    throw new AnonymousException("proof-malformed");
                }
                for (; values > 0; values--) {
                    headers.add(new Header(name, Texts.text(take(reader, number(reader, 4)), "proof-malformed")));
                }
            }
            return new Forwarded(tag, hash, headers, text);
        }

        static String text(Proof proof, byte[] payloadTag, byte[] payloadHash, List<Field> fields) {
            return Texts.toBase64(Texts.concat(new byte[] {1}, shortNumber(proof.bytes.length), proof.bytes, payloadTag, payloadHash, textOf(fields)));
        }

        private static byte[] take(ByteBuffer reader, long size) throws AnonymousException {
            if (size > reader.remaining()) {
                throw new AnonymousException("proof-malformed");
            }
            byte[] bytes = new byte[(int) size];
            reader.get(bytes);
            return bytes;
        }

        private static long number(ByteBuffer reader, int size) throws AnonymousException {
            long value = 0;
            for (byte b : take(reader, size)) {
                value = value << 8 | b & 0xff;
            }
            return value;
        }
    }
}
