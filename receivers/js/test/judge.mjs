// Judges the cases of receivers/*.json, in Node.js and in browsers.
import { Anonymous, forwarded, identify, Trust } from "@stamp/receiver";

/** A time in RFC 3339 in nanoseconds, with or without a fraction. */
export function nanoseconds(text) {
  const [, second, fraction = ""] = /^(.{19})(?:\.(\d+))?Z$/.exec(text);
  return BigInt(Date.parse(`${second}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, "0"));
}

export const bytesOf = (base64) => Uint8Array.from(atob(base64 ?? ""), (char) => char.charCodeAt(0));

async function judge(message, trust, now) {
  const headers = message.headers ?? [], payload = bytesOf(message.payload), subject = message.arrived;
  try {
    const { user, values, account, subject: published, timestamp, proven, server } = await (message.forwarded ? forwarded({ headers, payload, subject }, trust, now) : identify({ headers, payload, subject }, trust, now));
    return { verdict: "ok", user, values: { ...values }, account, subject: published, time: timestamp, proven, server };
  } catch (err) {
    if (!(err instanceof Anonymous)) throw err;
    return { verdict: err.verdict };
  }
}

/** A verdict as text, without empty fields, and with sorted names. */
function told(value) {
  if (Array.isArray(value) || typeof value !== "object") return JSON.stringify(value);
  const members = Object.entries(value).filter(([, member]) => member && (typeof member !== "object" || Object.keys(member).length > 0));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${told(member)}`).sort().join()}}`;
}

/** The cases of vectors.json, or of mutations.json, with another verdict than the wanted one. */
export async function wrongOf({ cases, trust: [shared] = [], now: [time] = [] }) {
  const wrong = [], sharedTrust = shared && new Trust(shared);
  for (const { name, before = [], want, trust: options, now = time, subjects, ...message } of cases) {
    try {
      let trust = sharedTrust ?? new Trust(options);
      if (subjects) trust = trust.forSubjects(...subjects);
      for (const earlier of before) await judge(earlier, trust, nanoseconds(earlier.now ?? now));
      const got = told(await judge(message, trust, nanoseconds(now)));
      if (got !== told(want)) wrong.push(`${name}: ${got}, expected ${told(want)}`);
    } catch (err) {
      wrong.push(`${name}: ${err}`);
    }
  }
  return wrong;
}
