// A page with React. Bundle it with `esbuild app.tsx --bundle --format=esm --jsx=automatic --outfile=app.js`.
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { Stamp } from "@stamp/browser";
import { useRequest, useStamp, useSubscription } from "@stamp/browser/react";

const stamp = new Stamp();

function App() {
  const { state, authenticated, error } = useStamp(stamp);
  if (error) return <p role="alert">{error.message}</p>;
  if (authenticated === undefined) return <p>One moment…</p>;
  if (!authenticated) return <button id="login" onClick={() => stamp.login()}>Sign in</button>;
  return (
    <>
      <p id="state">{state}</p>
      <Profile />
      <News />
      <button id="logout" onClick={() => void stamp.logout()}>Sign out</button>
    </>
  );
}

function Profile() {
  const { body, error, loading, again } = useRequest<{ name: string; visits: number }>(stamp, "/api/profile");
  if (error) return <p role="alert">{error.message}</p>;
  if (!body) return <p>Loading…</p>;
  return <p><span id="profile">{body.name}, {body.visits}</span> <button id="again" disabled={loading} onClick={again}>Again</button></p>;
}

function News() {
  const [shown, show] = useState(true);
  return (
    <>
      {shown && <List />}
      <button id="toggle" onClick={() => show(!shown)}>{shown ? "Hide" : "Show"} the news</button>
    </>
  );
}

function List() {
  const [texts, setTexts] = useState<string[]>([]);
  const { error } = useSubscription(stamp, "shared.news", (msg) => setTexts((before) => [...before, msg.text()]));
  if (error) return <p role="alert">{error.message}</p>;
  return <ul id="news">{texts.map((text, n) => <li key={n}>{text}</li>)}</ul>;
}

createRoot(document.getElementById("root")!).render(<StrictMode><App /></StrictMode>);
