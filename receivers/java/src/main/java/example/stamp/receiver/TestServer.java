package example.stamp.receiver;

import java.security.SecureRandom;
import java.time.Instant;
import java.util.List;
import java.util.Set;

/** Stamps messages as a server with proofs does, for tests of services that receive them. It has keys of its own, and of one receiver. */
public final class TestServer {
    private final SecureRandom random = new SecureRandom();
    private final byte[] curveSeed = bytes(32), signSeed = bytes(32), receiverSeed = bytes(32), salt = bytes(16);
    private final String account;
    private final Set<String> encrypt;
    private final boolean sign;
    private int counter;

    /**
     * @param account of the publishers
     * @param sign whether anybody can check the proofs
     * @param encrypt names whose values only the receiver can read
     */
    public TestServer(String account, boolean sign, String... encrypt) {
        this.account = account;
        this.sign = sign;
        this.encrypt = Set.of(encrypt);
    }

    /** What a trust has in servers. */
    public String[] servers() {
        return new String[] {Texts.encode("X", Crypto.publicOf(curveSeed)), Texts.encode("N", Crypto.signer(signSeed).publicKey())};
    }

    /** What a trust has in keys. */
    public String[] keys() {
        return new String[] {Texts.encode("SX", receiverSeed)};
    }

    /** The headers of a message that is published now. */
    public synchronized List<Header> stamp(List<Header> headers, String subject, byte[] payload) {
        return new StampedMessage(Texts.encode("SX", curveSeed), Texts.encode("SN", signSeed), Texts.encode("X", Crypto.publicOf(receiverSeed)), salt, ++counter,
                account, subject, Identity.TIMESTAMP.format(Instant.now()), headers, encrypt, sign, payload).lines();
    }

    private byte[] bytes(int size) {
        byte[] bytes = new byte[size];
        random.nextBytes(bytes);
        return bytes;
    }
}
