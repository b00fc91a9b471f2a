package example.stamp.receiver;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;

/** Texts that stand for bytes: base64url, nkeys, UTF-8. */
final class Texts {
    private static final String BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    private static final int SEED = 18 << 3;

    private Texts() {}

    /** base64url without padding (RFC 4648, section 5). */
    static String toBase64(byte[] bytes) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }

    /** The bytes of which the text is exactly the base64url, or null. */
    static byte[] fromBase64(String text) {
        try {
            byte[] bytes = Base64.getUrlDecoder().decode(text);
            return toBase64(bytes).equals(text) ? bytes : null;
        } catch (IllegalArgumentException e) {
            return null;
        }
    }

    /** The 32 bytes of a public key: kind is N, a server's Ed25519 key, or X, an X25519 key. */
    static byte[] publicKey(char kind, String text) {
        byte[] bytes = decode(text);
        if (bytes == null || bytes.length != 33 || (bytes[0] & 0xff) != prefix(kind)) {
            throw new IllegalArgumentException("expected a public key that begins with " + kind);
        }
        byte[] key = Arrays.copyOfRange(bytes, 1, 33);
        if (kind == 'N' && Crypto.isWeak(key)) {
            throw new IllegalArgumentException("expected a public key that is canonically encoded and not of small order: anybody could sign for it");
        }
        return key;
    }

    /** The 32 bytes of a seed. The exception does not hold the text, which may be secret. */
    static byte[] seed(char kind, String text) {
        byte[] bytes = decode(text);
        int start = SEED << 8 | prefix(kind) << 3; // five bits for S, eight for the kind, three that are zero
        if (bytes == null || bytes.length != 34 || ((bytes[0] & 0xff) << 8 | bytes[1] & 0xff) != start) {
            throw new IllegalArgumentException("expected a seed that begins with S" + kind);
        }
        return Arrays.copyOfRange(bytes, 2, 34);
    }

    /** The text of 32 bytes: kind is N or X for a public key, SN or SX for a seed. */
    static String encode(String kind, byte[] bytes) {
        int prefix = prefix(kind.charAt(kind.length() - 1));
        byte[] head = {(byte) SEED, 0};
        head[0] |= (byte) (prefix >> 5);
        head[1] = (byte) (prefix << 3);
        byte[] body = concat(kind.length() == 1 ? new byte[] {(byte) prefix} : head, bytes);
        int sum = checksum(body, body.length);
        StringBuilder text = new StringBuilder();
        int value = 0, bits = 0;
        for (byte b : concat(body, new byte[] {(byte) sum, (byte) (sum >> 8)})) {
            value = (value << 8 | b & 0xff) & 0xffff;
            bits += 8;
            for (; bits >= 5; bits -= 5) {
                text.append(BASE32.charAt(value >> bits - 5 & 31));
            }
        }
        return bits == 0 ? text.toString() : text.append(BASE32.charAt(value << 5 - bits & 31)).toString();
    }

    private static int prefix(char kind) {
        return kind == 'N' ? 13 << 3 : 23 << 3;
    }

    /** The bytes without the checksum, or null where the text is no key. */
    private static byte[] decode(String text) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        int value = 0, bits = 0;
        for (char c : text.toCharArray()) {
            int digit = BASE32.indexOf(c);
            if (digit < 0) {
                return null;
            }
            value = (value << 5 | digit) & 0xfff;
            bits += 5;
            if (bits >= 8) {
                bits -= 8;
                out.write(value >> bits);
            }
        }
        byte[] bytes = out.toByteArray();
        if (bytes.length < 3 || bits >= 5 || (value & (1 << bits) - 1) != 0) {
            return null;
        }
        int size = bytes.length - 2, sum = bytes[size] & 0xff | (bytes[size + 1] & 0xff) << 8;
        return checksum(bytes, size) == sum ? Arrays.copyOf(bytes, size) : null;
    }

    /** CRC-16 with the polynomial 0x1021 (XMODEM). */
    private static int checksum(byte[] bytes, int size) {
        int crc = 0;
        for (int i = 0; i < size; i++) {
            crc ^= (bytes[i] & 0xff) << 8;
            for (int bit = 0; bit < 8; bit++) {
                crc = (crc << 1 ^ ((crc & 0x8000) != 0 ? 0x1021 : 0)) & 0xffff;
            }
        }
        return crc;
    }

    /** The text in UTF-8. Of a text that has none, because of a lone surrogate, bytes that are in no UTF-8: what is proven is another. */
    static byte[] utf8(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        return StandardCharsets.UTF_8.newEncoder().canEncode(text) ? bytes : concat(bytes, new byte[] {(byte) 0xff});
    }

    /** The text of which these are the bytes in UTF-8. */
    static String text(byte[] bytes, String verdict) throws AnonymousException {
        try {
            return StandardCharsets.UTF_8.newDecoder().onMalformedInput(CodingErrorAction.REPORT)
                    .onUnmappableCharacter(CodingErrorAction.REPORT).decode(ByteBuffer.wrap(bytes)).toString();
        } catch (CharacterCodingException e) {
            throw new AnonymousException(verdict);
        }
    }

    static byte[] concat(byte[]... parts) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            out.writeBytes(part);
        }
        return out.toByteArray();
    }
}
