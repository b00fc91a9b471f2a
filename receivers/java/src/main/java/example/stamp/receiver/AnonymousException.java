package example.stamp.receiver;

import java.util.Map;

/** Nobody whom the receiver trusts has sent the message. It never holds a value of a header. */
public final class AnonymousException extends Exception {
    private static final long serialVersionUID = 1;
    private static final Map<String, String> TEXTS = Map.ofEntries(
            Map.entry("anonymous", "the message has no stamp"),
            Map.entry("proof-malformed", "the proof is malformed"),
            Map.entry("proof-version", "the proof is of a version that this package does not know"),
            Map.entry("proof-key", "the proof was made with keys that are not trusted"),
            Map.entry("proof-wrong", "the proof is not of this message"),
            Map.entry("field-missing", "a header that the proof names is missing"),
            Map.entry("field-twice", "a header is there twice, or in two spellings"),
            Map.entry("field-uncovered", "a header that is trusted is not proven"),
            Map.entry("field-malformed", "a value is malformed"),
            Map.entry("account", "the account of the publisher is not trusted"),
            Map.entry("subject", "the subject is not trusted"),
            Map.entry("misdirected", "the message was published on another subject than the one on which it arrived;"
                    + " if a mapping, an import or a stream changes subjects, give the handler a trust of forSubjects"),
            Map.entry("unsigned", "a message on this subject must be signed"),
            Map.entry("time-malformed", "the time is malformed"),
            Map.entry("old", "the message is too old"),
            Map.entry("future", "the message is of the future"),
            Map.entry("replayed", "the message was taken before"));

    private final String verdict;

    AnonymousException(String verdict) {
        super(TEXTS.get(verdict));
        this.verdict = verdict;
    }

    /** One of the verdicts of docs/proofs.md, "proof-wrong" for example. */
    public String verdict() {
        return verdict;
    }
}
