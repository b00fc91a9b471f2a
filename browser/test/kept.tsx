// A page whose component stays when the visitor signs out: what it knew of the visitor must not.
import { createRoot } from "react-dom/client";
import { Stamp } from "@stamp/browser";
import { useRequest, useStamp, useSubscription } from "@stamp/browser/react";

const stamp = new Stamp();
Object.assign(window, { s: stamp });

function Page() {
  const { state, authenticated, claims } = useStamp(stamp);
  const { body, loading } = useRequest<{ name: string }>(stamp, "/api/profile");
  const { message } = useSubscription(stamp, "shared.news");
  return <p id="known">{JSON.stringify([state, authenticated, claims?.["sub"], body?.name, message?.text(), loading])}</p>;
}

createRoot(document.getElementById("root")!).render(<Page />);
