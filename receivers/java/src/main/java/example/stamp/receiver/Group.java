package example.stamp.receiver;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/** All lines whose names are spellings of one: x_user, X.User and X-USER are. */
final class Group {
    private static final String SPECIAL = "!#$%&'*+-.^_`|~";

    final String folded;
    final String spelling; // of the first line
    boolean crowded; // another line has another spelling
    final List<String> values = new ArrayList<>();

    private Group(String folded, String spelling) {
        this.folded = folded;
        this.spelling = spelling;
    }

    static Map<String, Group> groupsOf(Iterable<Header> headers) {
        return groupsOf(headers, Group::fold);
    }

    /** The same with another function that folds, which a test counts. */
    static Map<String, Group> groupsOf(Iterable<Header> headers, UnaryOperator<String> fold) {
        Map<String, Group> groups = new LinkedHashMap<>();
        String before = null, folded = "";
        for (Header header : headers) {
            // A forwarded proof has a name once for all its values.
            if (!header.name().equals(before)) {
                before = header.name();
                folded = fold.apply(before);
            }
            if (folded.isEmpty()) {
                continue;
            }
            Group group = groups.computeIfAbsent(folded, key -> new Group(key, header.name()));
            group.crowded |= !group.spelling.equals(header.name());
            group.values.add(header.value());
        }
        return groups;
    }

    /** The form that all spellings of a name have in common. */
    static String fold(String name) {
        StringBuilder folded = new StringBuilder(name.length());
        for (int i = 0; i < name.length(); i++) {
            char c = name.charAt(i);
            if (!isTokenChar(c)) {
                continue;
            }
            folded.append(c >= 'A' && c <= 'Z' ? (char) (c + 'a' - 'A') : c == '_' || c == '.' ? '-' : c);
        }
        return folded.toString();
    }

    /** Whether a name is a token (RFC 9110, section 5.6.2). */
    static boolean isToken(String name) {
        return !name.isEmpty() && name.chars().allMatch(c -> isTokenChar((char) c));
    }

    private static boolean isTokenChar(char c) {
        return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || SPECIAL.indexOf(c) >= 0;
    }

    /** How a proof writes a folded name: 23 bits. */
    static int entryOf(String folded) {
        byte[] hash = Crypto.sha256(Texts.utf8(folded));
        return (hash[0] & 0x7f) << 16 | (hash[1] & 0xff) << 8 | hash[2] & 0xff;
    }
}
