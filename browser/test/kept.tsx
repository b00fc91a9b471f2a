// A page whose component stays when the visitor signs out: what it knew of the visitor must not. Scripts of the test change
// what it asks for, by change().
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { Stamp } from "@stamp/browser";
import { useRequest, useStamp, useSubscription } from "@stamp/browser/react";

const first = new Stamp(), renders: string[] = [], delivered: string[] = [];
Object.assign(window, { s: first, Stamp, renders, delivered });

interface Asked {
  stamp: Stamp;
  resource: string | null;
  options?: object;
  subject: string | null;
  queue?: string;
  /** Of the function that messages go to; without it the last one is shown. */
  reader?: string;
}

function Page() {
  const [asked, ask] = useState<Asked>({ stamp: first, resource: "/api/profile", subject: "shared.news" });
  const { stamp, resource, options, subject, queue, reader } = asked;
  const { state, authenticated, claims, error } = useStamp(stamp);
  const request = useRequest<{ name: string }>(stamp, resource, options);
  const deliver = reader === undefined ? undefined : (msg: { text(): string }) => { delivered.push(`${reader}: ${msg.text()}`); };
  const messages = useSubscription(stamp, subject, deliver, { queue });
  const code = (error: Error | undefined) => error && "code" in error && error.code;
  Object.assign(window, {
    change: (changed: Partial<Asked>) => ask({ ...asked, ...changed }), again: request.again,
    errors: [error, request.error, messages.error].map((error) => code(error) ?? null),
  });
  const known = JSON.stringify([state, authenticated, claims?.["sub"], request.body?.name, messages.message?.text(), request.loading]);
  renders.push(known);
  return <p id="known">{known}</p>;
}

const root = createRoot(document.getElementById("root")!);
const show = () => root.render(location.hash === "#strict" ? <StrictMode><Page /></StrictMode> : <Page />);
Object.assign(window, { show, hide: () => root.render(null) });
show();
