package stamp

// Message is what a receiver looks at. Adapters for messages of clients are in packages of their own, such as natsmsg.
type Message struct {
	Header  map[string][]string // values by name, as it is spelled; nats.Header is this
	Payload []byte

	// Subject is the one on which the message arrived; adapters set it. If it is not empty, Identify and Forward refuse a message
	// that was published on another subject, unless the trust is one of Trust.ForSubjects. A trust without Accounts looks at no subject.
	Subject string
}

// Line is a name and a value.
type Line [2]string

// Lines makes the Header of a Message of lines.
func Lines(lines []Line) map[string][]string {
	header := make(map[string][]string, len(lines))
	for _, line := range lines {
		header[line[0]] = append(header[line[0]], line[1])
	}
	return header
}
