package example.stamp.receiver;

import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Who sent a message.
 *
 * @param values all values of the headers that the trust names in one and many, by the name as the trust spells it
 * @param account the account of the publisher; null, as subject and time, where the trust has no accounts
 * @param subject the subject as it was published
 * @param proven whether a proof was checked. If not, all that is known is what the last server wrote
 */
public record Identity(String user, Map<String, List<String>> values, String account, String subject, Instant time, boolean proven) {
    /** The value of a header that the trust names in one. */
    public Optional<String> value(String name) {
        return values.getOrDefault(name, List.of()).stream().findFirst();
    }
}
