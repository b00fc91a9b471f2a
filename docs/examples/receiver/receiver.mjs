// Tells, on the side of a service, whether a message came as its author published it. It is
// for servers with headers { provenance: true }, and for the messages of nats.js; copy it.

const clockSkew = 10_000; // ms that a server's clock may be ahead of ours

// check throws unless m was published in the account, no longer than maxAge ms ago, to a subject that matches
// one of subjects, which may have wildcards: those that the service is for. The account is a name, or in
// operator mode a public key. An import may give any subject any name, so that for a service that other accounts
// import there is checkAny. check does not ask on which subject m came, since a pull request brings a message to a
// service under the subject that it was stored under.
export function check(m, account, maxAge, ...subjects) {
  const by = m.headers?.values("Stamp-Account") ?? [];
  const subject = m.headers?.values("Stamp-Subject") ?? [];
  const when = m.headers?.values("Stamp-Time") ?? [];
  if (by.length !== 1 || subject.length !== 1 || when.length !== 1) {
    throw new Error("message is not stamped, so that its author is nobody");
  }
  if (by[0] !== account) {
    throw new Error(`message was published in another account: ${by[0]}`);
  }
  if (!subjects.some((s) => matches(s.split("."), subject[0].split(".")))) {
    throw new Error(`message was published to another subject: ${subject[0]}`);
  }
  const age = Date.now() - Date.parse(when[0]);
  if (!(age <= maxAge && age >= -clockSkew)) { // also when it is no time
    throw new Error(`message was published too long ago, or in the future: ${age} ms`);
  }
}

// checkAny is check for a service that several accounts use. accounts has the subjects of the service by account, each
// as that account names them: the service's own subjects, and of an account that imports it the local subjects of its
// import (`to`, or the service's subjects where the import has none).
export function checkAny(m, accounts, maxAge) {
  const by = m.headers?.values("Stamp-Account") ?? [];
  if (by.length !== 1) {
    throw new Error("message is not stamped, so that its author is nobody");
  }
  if (!Object.hasOwn(accounts, by[0])) {
    throw new Error(`message was published in another account: ${by[0]}`);
  }
  check(m, by[0], maxAge, ...accounts[by[0]]);
}

function matches(pattern, subject) {
  for (const [i, token] of pattern.entries()) {
    if (token === ">") return subject.length > i;
    if (i >= subject.length || (token !== "*" && token !== subject[i])) return false;
  }
  return pattern.length === subject.length;
}
