// A page whose component stays when the visitor signs out: what it knew of the visitor must not.
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { Stamp } from "@stamp/browser";
import { useRequest, useStamp, useSubscription } from "@stamp/browser/react";

const first = new Stamp(), renders: string[] = [];
Object.assign(window, { s: first, Stamp, renders });

function Page() {
  const [stamp, use] = useState(first);
  Object.assign(window, { use });
  const { state, authenticated, claims } = useStamp(stamp);
  const { body, loading } = useRequest<{ name: string }>(stamp, "/api/profile");
  const { message } = useSubscription(stamp, "shared.news");
  const known = JSON.stringify([state, authenticated, claims?.["sub"], body?.name, message?.text(), loading]);
  renders.push(known);
  return <p id="known">{known}</p>;
}

createRoot(document.getElementById("root")!).render(<Page />);
