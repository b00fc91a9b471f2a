// A project without the types of a browser or of Node.js.
import { Anonymous, forward, forwarded, identify, type Identity, Trust, type TrustOptions, type Verdict } from "@stamp/receiver";

const options: TrustOptions = { user: "X-User", one: ["Session"], many: ["Roles"] as const, accounts: { APP: ["orders.>"] }, max_age: 60 };
const trust: Trust = await new Trust(options).ready();
const message = { headers: [["X-User", "alice"]] as [string, string][], payload: new Uint8Array() };

export async function user(): Promise<string | Verdict> {
  try {
    const identity: Identity = await identify(message, trust, 0n);
    const roles: readonly string[] | undefined = identity.values["Roles"], time: Date | undefined = identity.time;
    return `${identity.user} ${roles?.join()} ${time?.getTime()} ${identity.proven satisfies boolean}`;
  } catch (err) {
    if (err instanceof Anonymous) return err.verdict;
    throw err;
  }
}

export const passed: Promise<string> = forward(message, trust);
export const other: Promise<Identity> = forwarded(message, trust);
// @ts-expect-error: an unknown field
new Trust({ user: "X-User", header: "X-User" });
// @ts-expect-error: headers are a list
void identify({ headers: { "X-User": "alice" }, payload: new Uint8Array() }, trust);
