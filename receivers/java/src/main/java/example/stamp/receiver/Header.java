package example.stamp.receiver;

/** One line of a message's headers. */
public record Header(String name, String value) {}
