package example.stamp.receiver;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Reads JSON, for the vectors: the standard library has no reader. Objects are maps, whole numbers that fit are of type Long, and others of type Double. */
final class Json {
    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    static Object read(String text) {
        Json json = new Json(text);
        Object value = json.value();
        json.space();
        if (json.at != text.length()) {
            throw json.fault();
        }
        return value;
    }

    private RuntimeException fault() {
        return new IllegalArgumentException("no JSON at " + at);
    }

    private void space() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private boolean takes(String word) {
        space();
        boolean is = text.startsWith(word, at);
        at += is ? word.length() : 0;
        return is;
    }

    private Object value() {
        if (takes("{")) {
            return object();
        }
        if (takes("[")) {
            return list();
        }
        if (takes("\"")) {
            return string();
        }
        for (Map.Entry<String, Object> word : List.of(Map.<String, Object>entry("true", true), Map.<String, Object>entry("false", false))) {
            if (takes(word.getKey())) {
                return word.getValue();
            }
        }
        if (takes("null")) {
            return null;
        }
        int start = at;
        while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        String number = text.substring(start, at);
        return number.matches("-?[0-9]{1,18}") ? (Object) Long.valueOf(number) : Double.valueOf(number);
    }

    private Map<String, Object> object() {
        Map<String, Object> object = new LinkedHashMap<>();
        for (boolean first = true; !takes("}"); first = false) {
            if (!first && !takes(",") || !takes("\"")) {
                throw fault();
            }
            String name = string();
            if (!takes(":")) {
                throw fault();
            }
            object.put(name, value());
        }
        return object;
    }

    private List<Object> list() {
        List<Object> list = new ArrayList<>();
        for (boolean first = true; !takes("]"); first = false) {
            if (!first && !takes(",")) {
                throw fault();
            }
            list.add(value());
        }
        return list;
    }

    private String string() {
        StringBuilder out = new StringBuilder();
        for (;;) {
            char c = text.charAt(at++);
            if (c == '"') {
                return out.toString();
            }
            if (c != '\\') {
                out.append(c);
                continue;
            }
            char escaped = text.charAt(at++);
            if (escaped == 'u') {
                out.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
                at += 4;
                continue;
            }
            int known = "bfnrt".indexOf(escaped);
            out.append(known < 0 ? escaped : "\b\f\n\r\t".charAt(known));
        }
    }
}
