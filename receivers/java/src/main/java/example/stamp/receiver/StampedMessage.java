package example.stamp.receiver;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import javax.crypto.Cipher;
import javax.crypto.spec.SecretKeySpec;

/**
 * What a proof is made of, for tests of services: the same input gives the same proof. {@link TestServer} makes it with keys of its
 * own.
 *
 * @param curveSeed of the server, SX...; what is not needed may be null
 * @param signSeed of the server, SN...
 * @param receiver public key of the receiver, X...
 * @param salt 16 bytes
 * @param time with nine digits of a second: 2026-03-01T12:00:00.123456789Z
 * @param encrypt names whose values only the receiver can read
 * @param sign whether anybody can check the proof
 */
public record StampedMessage(String curveSeed, String signSeed, String receiver, byte[] salt, int counter, String account, String subject, String time,
        List<Header> headers, Collection<String> encrypt, boolean sign, byte[] payload) {

    /** A header while its proof is made. What is to be encrypted stands in ciphertexts until it is. */
    private record Draft(String name, List<String> values, boolean encrypted, List<byte[]> ciphertexts) {
        Proof.Field field() {
            return new Proof.Field(name, values, encrypted, ciphertexts);
        }
    }

    /** The lines of the message: provenance, the headers, and the proof. */
    public List<Header> lines() {
        List<Draft> drafts = drafts();
        boolean conceals = drafts.stream().anyMatch(Draft::encrypted), has = receiver != null && !receiver.isEmpty();
        if (!has && (!sign || conceals)) {
            throw new IllegalArgumentException("the proof is neither for a receiver nor signed, or has values to encrypt and no receiver");
        }
        boolean forReceiver = has && (conceals || !sign);
        byte[] proof = {(byte) (!sign ? 1 : forReceiver ? 3 : 2)};
        SecretKeySpec key = null;
        if (forReceiver) {
            byte[] seed = Texts.seed('X', curveSeed), own = Crypto.publicOf(seed), other = Texts.publicKey('X', receiver);
            key = Crypto.hkdf(Crypto.secret(seed, other), salt, Texts.concat(Crypto.LABEL, own, other));
            proof = Texts.concat(proof, two(Crypto.keyId(own)), two(Crypto.keyId(other)), salt, four(counter));
        }
        Crypto.Signer signer = sign ? Crypto.signer(Texts.seed('N', signSeed)) : null;
        if (sign) {
            proof = Texts.concat(proof, two(Crypto.keyId(signer.publicKey())));
        }
        for (Draft draft : drafts) {
            int entry = Group.entryOf(Group.fold(draft.name())) | (draft.encrypted() ? 0x800000 : 0);
            proof = Texts.concat(proof, Arrays.copyOfRange(four(entry), 1, 4));
        }
        if (forReceiver) {
            proof = Texts.concat(proof, seal(key, proof, drafts));
        }
        if (sign) {
            proof = Texts.concat(proof, signer.sign(Texts.concat(Crypto.LABEL, proof, Proof.textOf(fields(drafts)), Crypto.sha256(payload))));
        }
        return lines(drafts, proof);
    }

    private List<Header> lines(List<Draft> drafts, byte[] proof) {
        List<Header> lines = new ArrayList<>(origin());
        Map<String, Integer> taken = new LinkedHashMap<>();
        for (Header header : headers) {
            int number = taken.merge(header.name(), 1, Integer::sum) - 1;
            Draft draft = drafts.stream().filter(one -> one.name().equals(header.name())).findFirst().orElseThrow();
            lines.add(new Header(header.name(), draft.values().get(number)));
        }
        lines.add(new Header(Proof.NAME, Texts.toBase64(proof)));
        return lines;
    }

    private List<Header> origin() {
        List<String> values = List.of(account, subject, time);
        List<Header> origin = new ArrayList<>();
        for (int i = 0; i < values.size(); i++) {
            origin.add(new Header(Proof.PROVENANCE.get(i), values.get(i)));
        }
        return origin;
    }

    private List<Proof.Field> fields(List<Draft> drafts) {
        List<Proof.Field> fields = new ArrayList<>();
        origin().forEach(header -> fields.add(new Proof.Field(header.name(), List.of(header.value()), false, List.of())));
        drafts.forEach(draft -> fields.add(draft.field()));
        return fields;
    }

    private List<Draft> drafts() {
        Set<String> concealed = new HashSet<>();
        encrypt.forEach(name -> concealed.add(Group.fold(name)));
        Map<String, Draft> drafts = new TreeMap<>();
        for (Header header : headers) {
            String folded = Group.fold(header.name());
            Draft draft = drafts.computeIfAbsent(folded, key -> new Draft(header.name(), new ArrayList<>(), concealed.contains(key), new ArrayList<>()));
            if (!draft.name().equals(header.name())) {
                throw new IllegalArgumentException("a header in two spellings");
            }
            draft.values().add(header.value());
            if (draft.encrypted()) {
                draft.ciphertexts().add(Texts.utf8(header.value()));
            }
        }
        return List.copyOf(drafts.values());
    }

    /** Encrypts the values, and returns the tag. */
    private byte[] seal(SecretKeySpec key, byte[] head, List<Draft> drafts) {
        byte[] plaintext = Texts.concat(drafts.stream().flatMap(draft -> draft.ciphertexts().stream()).toArray(byte[][]::new));
        byte[] tag = Crypto.gcm(Cipher.ENCRYPT_MODE, key, 1, four(counter), new byte[0], payload);
        byte[] sealed = Crypto.gcm(Cipher.ENCRYPT_MODE, key, 0, four(counter), plaintext, Texts.concat(Crypto.LABEL, head, Proof.macTextOf(fields(drafts)), tag));
        int at = 0;
        for (Draft draft : drafts) {
            for (int i = 0; i < draft.ciphertexts().size(); i++) {
                int size = draft.ciphertexts().get(i).length;
                draft.ciphertexts().set(i, Arrays.copyOfRange(sealed, at, at + size));
                draft.values().set(i, Texts.toBase64(draft.ciphertexts().get(i)));
                at += size;
            }
        }
        return Arrays.copyOfRange(sealed, at, sealed.length);
    }

    private static byte[] two(int value) {
        return ByteBuffer.allocate(2).putShort((short) value).array();
    }

    private static byte[] four(int value) {
        return ByteBuffer.allocate(4).putInt(value).array();
    }
}
