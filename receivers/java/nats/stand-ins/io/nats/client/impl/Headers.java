package io.nats.client.impl;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;

/** As in jnats, names are told apart by their spelling, and have no order. */
public class Headers {
    private final Map<String, List<String>> values = new HashMap<>();

    public Headers add(String key, String... added) {
        values.computeIfAbsent(key, name -> new ArrayList<>()).addAll(List.of(added));
        return this;
    }

    public Headers put(String key, String... put) {
        values.put(key, new ArrayList<>(List.of(put)));
        return this;
    }

    public void remove(String... keys) {
        for (String key : keys) {
            values.remove(key);
        }
    }

    public Set<String> keySet() {
        return Collections.unmodifiableSet(values.keySet());
    }

    public String getFirst(String key) {
        return values.containsKey(key) ? values.get(key).get(0) : null;
    }

    public void forEach(BiConsumer<String, List<String>> action) {
        values.forEach((name, list) -> action.accept(name, Collections.unmodifiableList(list)));
    }
}
