/** Why a message has no sender that is trusted: the verdicts of docs/proofs.md. */
export type Verdict =
  | "anonymous" | "proof-malformed" | "proof-version" | "proof-key" | "proof-wrong"
  | "field-missing" | "field-twice" | "field-uncovered" | "field-malformed"
  | "account" | "subject" | "misdirected" | "unsigned" | "time-malformed" | "old" | "future" | "replayed";

const texts: Record<Verdict, string> = {
  "anonymous": "the message has no stamp",
  "proof-malformed": "the proof is malformed",
  "proof-version": "the proof is of a version that this package does not know",
  "proof-key": "the proof was made with keys that are not trusted",
  "proof-wrong": "the proof is not of this message",
  "field-missing": "a header that the proof names is missing",
  "field-twice": "a header is there twice, or in two spellings",
  "field-uncovered": "a header that is trusted is not proven",
  "field-malformed": "an encrypted value is malformed",
  "account": "the account of the publisher is not trusted",
  "subject": "the subject is not trusted",
  "misdirected": "the message was published on another subject than the one on which it arrived; if a mapping, an import or a stream changes subjects, give the handler a trust of forSubjects",
  "unsigned": "a message on this subject must be signed",
  "time-malformed": "the time is malformed",
  "old": "the message is too old",
  "future": "the message is of the future",
  "replayed": "the message was taken before",
};

/** Nobody whom the receiver trusts has sent the message. It never holds a value of a header. */
export class Anonymous extends Error {
  override name = "Anonymous";
  readonly verdict: Verdict;

  constructor(verdict: Verdict) {
    super(texts[verdict]);
    this.verdict = verdict;
  }
}
