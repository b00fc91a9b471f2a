package example.stamp.receiver;

import java.math.BigInteger;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyPairGenerator;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.spec.EdECPoint;
import java.security.spec.EdECPrivateKeySpec;
import java.security.spec.EdECPublicKeySpec;
import java.security.spec.NamedParameterSpec;
import java.security.spec.XECPrivateKeySpec;
import java.security.spec.XECPublicKeySpec;
import java.util.Arrays;
import java.util.Set;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.KeyAgreement;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/** The cryptography of a proof. docs/proofs.md has the format. */
final class Crypto {
    static final byte[] LABEL = Texts.utf8("stamp proof v1");
    private static final byte[] BASE_POINT = Arrays.copyOf(new byte[] {9}, 32);

    private static final BigInteger FIELD_PRIME = BigInteger.ONE.shiftLeft(255).subtract(BigInteger.valueOf(19));
    /** y of the points of Ed25519 of small order: order 4, 1, 2, and twice 8. */
    private static final Set<BigInteger> SMALL_ORDERS = Set.of(
            BigInteger.ZERO, BigInteger.ONE, FIELD_PRIME.subtract(BigInteger.ONE),
            new BigInteger("05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826", 16),
            new BigInteger("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7", 16));

    private Crypto() {}

    static byte[] sha256(byte[] bytes) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(bytes);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The id of a key: the first two bytes of the SHA-256 of its public part. */
    static int keyId(byte[] publicKey) {
        byte[] hash = sha256(publicKey);
        return (hash[0] & 0xff) << 8 | hash[1] & 0xff;
    }

    /** The public key of an X25519 seed. */
    static byte[] publicOf(byte[] seed) {
        return secret(seed, BASE_POINT);
    }

    /** X25519. Throws where the result is all zeros. */
    static byte[] secret(byte[] seed, byte[] other) {
        try {
            KeyFactory factory = KeyFactory.getInstance("X25519");
            KeyAgreement agreement = KeyAgreement.getInstance("X25519");
            agreement.init(factory.generatePrivate(new XECPrivateKeySpec(NamedParameterSpec.X25519, seed)));
            byte[] point = other.clone();
            point[31] &= 0x7f; // RFC 7748, section 5
            agreement.doPhase(factory.generatePublic(new XECPublicKeySpec(NamedParameterSpec.X25519, littleEndian(point))), true);
            return agreement.generateSecret();
        } catch (GeneralSecurityException e) {
            throw new IllegalArgumentException("servers: a key cannot be used", e);
        }
    }

    private static BigInteger littleEndian(byte[] bytes) {
        byte[] reversed = new byte[bytes.length];
        for (int i = 0; i < bytes.length; i++) {
            reversed[i] = bytes[bytes.length - 1 - i];
        }
        return new BigInteger(1, reversed);
    }

    /** HKDF-SHA256 (RFC 5869) of 32 bytes, which are one block. */
    static SecretKeySpec hkdf(byte[] secret, byte[] salt, byte[] info) {
        byte[] extracted = hmac(salt, secret);
        return new SecretKeySpec(hmac(extracted, Texts.concat(info, new byte[] {1})), "AES");
    }

    private static byte[] hmac(byte[] key, byte[] bytes) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            return mac.doFinal(bytes);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    /** AES-256-GCM. The first byte of the nonce is 1 for a payload, 0 for the rest. Returns null where the tag is another. */
    static byte[] gcm(int mode, SecretKeySpec key, int first, byte[] counter, byte[] text, byte[] additional) {
        byte[] nonce = Texts.concat(new byte[] {(byte) first}, new byte[7], counter);
        try {
            Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
            cipher.init(mode, key, new GCMParameterSpec(128, nonce));
            cipher.updateAAD(additional);
            return cipher.doFinal(text);
        } catch (AEADBadTagException e) {
            return null;
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Whether a key for Ed25519 is of small order, or not the canonical encoding of a point: libraries do not agree on these, and no server has one. */
    static boolean isWeak(byte[] publicKey) {
        BigInteger y = littleEndian(publicKey).clearBit(255); // without the sign of x
        return y.compareTo(FIELD_PRIME) >= 0 || SMALL_ORDERS.contains(y);
    }

    static PublicKey ed25519(byte[] publicKey) {
        byte[] y = publicKey.clone();
        boolean odd = (y[31] & 0x80) != 0;
        y[31] &= 0x7f;
        try {
            EdECPublicKeySpec spec = new EdECPublicKeySpec(NamedParameterSpec.ED25519, new EdECPoint(odd, littleEndian(y)));
            return KeyFactory.getInstance("Ed25519").generatePublic(spec);
        } catch (GeneralSecurityException e) {
            throw new IllegalArgumentException("servers: a key cannot be used", e);
        }
    }

    static boolean verifies(PublicKey key, byte[] signature, byte[] bytes) {
        try {
            Signature verifier = Signature.getInstance("Ed25519");
            verifier.initVerify(key);
            verifier.update(bytes);
            return verifier.verify(signature);
        } catch (GeneralSecurityException e) {
            return false;
        }
    }

    /** A key that signs, for tests of services. */
    record Signer(PrivateKey key, byte[] publicKey) {
        byte[] sign(byte[] bytes) {
            try {
                Signature signature = Signature.getInstance("Ed25519");
                signature.initSign(key);
                signature.update(bytes);
                return signature.sign();
            } catch (GeneralSecurityException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    static Signer signer(byte[] seed) {
        try {
            PrivateKey key = KeyFactory.getInstance("Ed25519").generatePrivate(new EdECPrivateKeySpec(NamedParameterSpec.ED25519, seed));
            // The library tells the public key of a seed to a generator alone, whose only random bytes these are.
            KeyPairGenerator generator = KeyPairGenerator.getInstance("Ed25519");
            generator.initialize(NamedParameterSpec.ED25519, new SecureRandom() {
                private static final long serialVersionUID = 1;

                @Override
                public void nextBytes(byte[] bytes) {
                    System.arraycopy(seed, 0, bytes, 0, bytes.length);
                }
            });
            byte[] encoded = generator.generateKeyPair().getPublic().getEncoded();
            return new Signer(key, Arrays.copyOfRange(encoded, encoded.length - 32, encoded.length));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }
}
