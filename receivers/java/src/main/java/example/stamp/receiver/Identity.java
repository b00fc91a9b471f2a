package example.stamp.receiver;

import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
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
 * @param server the public key of the server that has proven it, as the trust has it: N... of a signature, or else X.... Null without a proof
 */
public record Identity(String user, Map<String, List<String>> values, String account, String subject, Instant time, boolean proven, String server) {
    static final DateTimeFormatter TIMESTAMP = DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSSSSS'Z'").withZone(ZoneOffset.UTC);

    /** Who sent the message, without the values of headers, which may be secrets. */
    @Override
    public String toString() {
        return "Identity[user=" + user + ", account=" + account + ", subject=" + subject + ", time=" + timestamp() + ", proven=" + proven + ", server=" + server + "]";
    }

    /** The time as in the message: 2026-03-01T12:00:00.123456789Z. */
    public String timestamp() {
        return time == null ? null : TIMESTAMP.format(time);
    }

    /** The value of a header that the trust names in one or many. There is none where it has several. */
    public Optional<String> value(String name) {
        List<String> all = values.getOrDefault(name, List.of());
        return all.size() == 1 ? Optional.of(all.get(0)) : Optional.empty();
    }
}
